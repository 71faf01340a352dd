// One drawing, large, in a dialog over the gallery.

import { guessed } from "./gallery.js";
import { shown, spoken } from "./labels.js";
import { dated, percent, t } from "./language.js";

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
    element("picture").alt = t("viewer.picture", { label: spoken(item.label) });
    const sure = item.confidence !== null && t("viewer.confidence-in-label", { share: percent(item.confidence) });
    const details = [
      [t("viewer.guess"), guess && shown(guess)],
      [t("viewer.confidence"), sure],
      [t("viewer.tags"), item.tags.join(", ")],
      [t("viewer.writer"), item.writer],
      [t("viewer.drawn"), dated(item.date, { dateStyle: "long", timeStyle: "short" })],
      [t("viewer.earlier-labels"), item.earlier.map(shown).join(", ")],
    ];
    const rows = details.filter(([, text]) => text);
    element("details").replaceChildren(
      ...rows.flatMap(([name, text]) => {
        const pair = [document.createElement("dt"), document.createElement("dd")];
        [pair[0].textContent, pair[1].textContent] = [name, text];
        return pair;
      }),
    );
    element("place").textContent = t("viewer.place", { place: active + 1, total });
    this.#disable("previous", active === 0);
    this.#disable("next", active === total - 1);
  }

  // A disabled button would lose the focus, and the arrow keys with it.
  #disable(name, disabled) {
    if (disabled && document.activeElement === element(name)) element("close").focus();
    element(name).disabled = disabled;
  }
}
