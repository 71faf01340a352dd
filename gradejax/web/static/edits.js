// Changes to many drawings: sent in parts, shown in place, and undone.

import { number, shown } from "./drawings.js";
import { guessed } from "./gallery.js";
import { ask } from "./server.js";

const AT_ONCE = 1000; // ids in one request

export const drawings = (n) => (n === 1 ? "1 drawing" : `${number(n)} drawings`);

// Fetches the id, label and guess of every drawing that matches, in the gallery's order.
export async function fetchAll(query, progress) {
  const all = [];
  let after = null;
  do {
    const parameters = new URLSearchParams(query);
    if (after) parameters.set("after", after);
    const page = await ask(`api/drawings/ids?${parameters}`);
    all.push(...page.drawings);
    after = page.next;
    progress(all.length);
  } while (after);
  return all;
}

// Sends ids in parts; `sent` is told how many have been. Returns how many drawings changed.
async function send(path, ids, extra, sent) {
  let changed = 0;
  for (let from = 0; from < ids.length; from += AT_ONCE) {
    const part = ids.slice(from, from + AT_ONCE);
    changed += (await ask(`api/drawings/${path}`, { ids: part, ...extra })).changed;
    sent(part.length);
  }
  return changed;
}

const OPPOSITE = { "put-aside": "restore", restore: "put-aside" };

// `gallery`: shows what changes; `matches(label)`: whether a drawing with this label belongs there;
// `progress(done, total)`: called after each part.
export class Edits {
  #gallery;
  #matches;
  #progress;
  #undo = null;

  constructor(gallery, matches, progress) {
    this.#gallery = gallery;
    this.#matches = matches;
    this.#progress = progress;
  }

  get canUndo() {
    return this.#undo !== null;
  }

  forget() {
    this.#undo = null;
  }

  // Excludes ("put-aside") or restores drawings, which then leave the gallery.
  async move(path, ids) {
    this.forget();
    const total = this.#gallery.total;
    const changed = await send(path, ids, {}, this.#counter(ids.length));
    const gone = this.#gallery.remove(new Set(ids));
    this.#undo = async () => {
      const back = await send(OPPOSITE[path], ids, {}, this.#counter(ids.length));
      this.#gallery.putBack(gone, total);
      return back;
    };
    return changed;
  }

  // `known`: id → {label, guess} of drawings; `labels`: id → the label that each gets.
  async relabel(known, labels) {
    this.forget();
    const total = this.#gallery.total;
    const changing = new Map([...labels].filter(([id, label]) => known.get(id).label !== label));
    const before = new Map([...changing.keys()].map((id) => [id, known.get(id).label]));
    const shownBefore = this.#gallery.items.filter(({ id }) => changing.has(id)).map((item) => ({ item, was: { ...item } }));
    const changed = await this.#sendLabels(changing);
    for (const { item } of shownBefore) {
      const label = changing.get(item.id);
      item.earlier = [...item.earlier, item.label];
      item.label = label;
      item.confidence = null; // it was about the earlier label
    }
    const leaving = new Set([...changing].filter(([, label]) => !this.#matches(label)).map(([id]) => id));
    const gone = leaving.size ? this.#gallery.remove(leaving) : [];
    this.#gallery.refresh();
    this.#undo = async () => {
      const back = await this.#sendLabels(before);
      for (const { item, was } of shownBefore) {
        Object.assign(item, was, { earlier: [...item.earlier, item.label] });
      }
      this.#gallery.putBack(gone, total);
      return back;
    };
    return changed;
  }

  // Returns how many drawings are again as they were.
  async undo() {
    const undo = this.#undo;
    this.forget();
    return undo();
  }

  async #sendLabels(labels) {
    const byLabel = new Map();
    for (const [id, label] of labels) {
      if (!byLabel.has(label)) byLabel.set(label, []);
      byLabel.get(label).push(id);
    }
    const count = this.#counter(labels.size);
    let changed = 0;
    for (const [label, ids] of byLabel) changed += await send("relabel", ids, { label }, count);
    return changed;
  }

  #counter(total) {
    let done = 0;
    return (more) => this.#progress((done += more), total);
  }
}

// The line that says what a change did.
export const changedTo = (n, label) => `${drawings(n)} relabelled ${label === null ? "as guessed" : `as ${shown(label)}`}.`;

// The guess of each drawing, as labels.
export const guesses = (known, ids) => new Map([...ids].map((id) => [id, known.get(id).guess]).filter(([, guess]) => guess));

// What is known of the drawings that the gallery has loaded.
export const listed = (items) => new Map(items.map((item) => [item.id, { label: item.label, guess: guessed(item) }]));
