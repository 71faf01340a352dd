// One drawing, large, in a dialog over the gallery.

import { number, shown, spoken } from "./drawings.js";
import { guessed } from "./gallery.js";

const element = (name) => document.getElementById(name ? `viewer-${name}` : "viewer");

// Shows the gallery's active drawing; the gallery follows.
export class Viewer {
  #gallery;

  constructor(gallery) {
    this.#gallery = gallery;
    element("close").addEventListener("click", () => element().close());
    element("previous").addEventListener("click", () => this.#step(-1));
    element("next").addEventListener("click", () => this.#step(1));
    element().addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.#step(step);
    });
    element().addEventListener("close", () => gallery.focus());
  }

  open() {
    element().showModal();
    this.#fill();
    element("close").focus();
  }

  #step(by) {
    const index = this.#gallery.active + by;
    if (index < 0 || index >= this.#gallery.items.length) return;
    this.#gallery.go(index);
    this.#fill();
  }

  #fill() {
    const { items, total, active } = this.#gallery;
    const item = items[active];
    const guess = guessed(item);
    element("title").textContent = shown(item.label);
    element("title").ariaLabel = spoken(item.label);
    element("picture").src = `api/picture?id=${encodeURIComponent(item.id)}`;
    element("picture").alt = `A drawing labelled ${spoken(item.label)}`;
    const details = {
      Guess: guess && shown(guess),
      Confidence: item.confidence !== null && `${Math.round(100 * item.confidence)}% in the label`,
      Tags: item.tags.join(", "),
      Writer: item.writer,
      Drawn: new Date(item.date).toLocaleString("en", { dateStyle: "long", timeStyle: "short" }),
      "Earlier labels": item.earlier.map(shown).join(", "),
    };
    const rows = Object.entries(details).filter(([, text]) => text);
    element("details").replaceChildren(
      ...rows.flatMap(([name, text]) => {
        const pair = [document.createElement("dt"), document.createElement("dd")];
        [pair[0].textContent, pair[1].textContent] = [name, text];
        return pair;
      }),
    );
    element("place").textContent = `${number(active + 1)} of ${number(total)}`;
    this.#disable("previous", active === 0);
    this.#disable("next", active === total - 1);
  }

  // A disabled button would lose the focus, and the arrow keys with it.
  #disable(name, disabled) {
    if (disabled && document.activeElement === element(name)) element("close").focus();
    element(name).disabled = disabled;
  }
}
