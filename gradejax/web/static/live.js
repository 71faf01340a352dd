// What a class does, live, while the page is visible: a browser opens only a few connections to one server, and each
// stream takes one.

const AGAIN = 3000; // milliseconds until a refused stream is asked for again

// Events: "open" when a stream begins; "counts" (at its beginning, too), "saved" and "edited", whose `detail` is the
// server's message; "lost" when the stream breaks off. Another one is then opened, as often as necessary.
export class Live extends EventTarget {
  #source = null;
  #timer;

  constructor() {
    super();
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#close() : this.#open()));
    addEventListener("online", () => this.#open());
    if (!document.hidden) this.#open();
  }

  #close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #open() {
    this.#close();
    const source = (this.#source = new EventSource("api/events"));
    for (const name of ["counts", "saved", "edited"]) {
      source.addEventListener(name, ({ data }) =>
        this.dispatchEvent(new CustomEvent(name, { detail: JSON.parse(data) })),
      );
    }
    source.addEventListener("open", () => this.dispatchEvent(new Event("open")));
    source.addEventListener("error", () => {
      // Without an answer browsers try again by themselves; after a refusal they do not.
      if (source.readyState === EventSource.CLOSED) this.#timer = setTimeout(() => this.#open(), AGAIN);
      this.dispatchEvent(new Event("lost"));
    });
  }
}
