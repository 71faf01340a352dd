// The newest drawings: a new one takes the place of the oldest, so that nothing else moves.

import { shown, spoken } from "./labels.js";
import { ask } from "./server.js";

const MOST = 24;
const PAUSE = 250; // milliseconds between two that appear
const MAX_WAITING = 8; // that have yet to appear; a class may be faster

export class Newest {
  #list;
  #tiles = new Map(); // by id, the oldest first
  #waiting = [];
  #timer = null;

  constructor(list) {
    this.#list = list;
  }

  // Shows a drawing, {id, label}, soon.
  add(drawing) {
    this.#waiting.push(drawing);
    if (this.#waiting.length > MAX_WAITING) this.#waiting.shift();
    this.#timer ??= setInterval(() => this.#next(), PAUSE);
  }

  // Takes away what is no longer in use, corrects labels, fills free places, and adds what came unannounced.
  async refresh() {
    const { drawings } = await ask(`api/drawings?limit=${4 * MOST}`);
    const labels = new Map(drawings.map(({ id, label }) => [id, label]));
    for (const [id, tile] of this.#tiles) {
      if (labels.has(id)) this.#name(tile, labels.get(id));
      else this.#remove(id);
    }
    this.#waiting = this.#waiting.filter(({ id }) => labels.has(id));
    const isHere = ({ id }) => this.#tiles.has(id) || this.#waiting.some((waiting) => waiting.id === id);
    const free = MOST - this.#tiles.size;
    const missing = drawings.filter((drawing) => !isHere(drawing)).slice(0, free);
    for (const drawing of missing.reverse()) this.#show(drawing);
    const known = drawings.findIndex(isHere);
    for (const drawing of drawings.slice(0, Math.min(known, MAX_WAITING)).reverse()) this.add(drawing);
  }

  #next() {
    const drawing = this.#waiting.shift();
    if (drawing) this.#show(drawing);
    if (this.#waiting.length) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }

  #show({ id, label }) {
    if (this.#tiles.has(id)) return;
    const tile = document.createElement("li");
    const picture = document.createElement("img");
    picture.alt = "";
    picture.src = `api/picture?id=${encodeURIComponent(id)}`;
    picture.addEventListener("load", () => tile.classList.add("shown"));
    picture.addEventListener("error", () => this.#remove(id)); // it was excluded or erased meanwhile
    const visible = document.createElement("span");
    visible.ariaHidden = "true";
    const audible = document.createElement("span");
    audible.className = "spoken";
    tile.append(picture, visible, audible);
    this.#name(tile, label);
    if (this.#tiles.size < MOST) {
      this.#list.append(tile);
    } else {
      const [oldest, node] = this.#tiles.entries().next().value;
      node.replaceWith(tile);
      this.#tiles.delete(oldest);
    }
    this.#tiles.set(id, tile);
  }

  #name(tile, label) {
    const [, visible, audible] = tile.children;
    visible.textContent = shown(label);
    audible.textContent = spoken(label);
  }

  #remove(id) {
    this.#tiles.get(id)?.remove();
    this.#tiles.delete(id);
  }
}
