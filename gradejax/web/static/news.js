// Tells the gallery that drawings have come, changed or gone, whoever did it.

import { Live } from "./live.js";

const PAUSE = 2000; // milliseconds; while a class draws, news comes all the time

// Calls `changed` after news, but not more often than every two seconds.
export function follow(changed) {
  let timer = null;
  const soon = () => {
    timer ??= setTimeout(() => {
      timer = null;
      changed();
    }, PAUSE);
  };
  const live = new Live();
  live.addEventListener("counts", soon);
  live.addEventListener("edited", soon);
}
