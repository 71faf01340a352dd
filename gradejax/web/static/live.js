// What happens in the store while the gallery is open, from the server's events.

const PAUSE = 2000; // milliseconds; while a class draws, events come all the time

// Calls `changed` after drawings were added, changed or excluded, by anybody; not more often than every two seconds.
export function follow(changed) {
  let timer = null;
  let isFirst = true;
  const events = new EventSource("/api/events");
  events.addEventListener("counts", () => {
    if (isFirst) {
      isFirst = false; // it says what the page has just asked for
      return;
    }
    timer ??= setTimeout(() => {
      timer = null;
      changed();
    }, PAUSE);
  });
}
