// Changes to many drawings: sent in parts, shown in place, and undone.

import { AT_ONCE } from "./drawings.js";
import { guessed } from "./gallery.js";
import { shown } from "./labels.js";
import { t } from "./language.js";
import { ask, reason } from "./server.js";

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

// A step is one request: {path, ids, body, back}; `back` are the steps that undo it. Splits a change into steps.
function steps(path, ids, body, back) {
  const all = [];
  for (let from = 0; from < ids.length; from += AT_ONCE) {
    const part = ids.slice(from, from + AT_ONCE);
    all.push({ path, ids: part, body, back: back ? back(part) : [] });
  }
  return all;
}

// The steps that give drawings labels; `labels` and `before` are id → label.
function relabelling(labels, before) {
  const byLabel = new Map();
  for (const [id, label] of labels) {
    if (!byLabel.has(label)) byLabel.set(label, []);
    byLabel.get(label).push(id);
  }
  const back = (ids) => relabelling(ids.map((id) => [id, before.get(id)]));
  return [...byLabel].flatMap(([label, ids]) => steps("relabel", ids, { label }, before && back));
}

// A change or an undoing that failed in the middle; the message is for people.
export class Unfinished extends Error {}

const OPPOSITE = { "put-aside": "restore", restore: "put-aside" };

// `gallery`: shows what changes; `filters`: whether a drawing still belongs there; `progress(done, total)`: called after
// each step. What was done of a change that failed in the middle can be undone, and an undoing that failed repeated.
export class Edits {
  #gallery;
  #filters;
  #progress;
  #undo = null; // {steps, undone, of, show}, or {elsewhere}

  constructor(gallery, filters, progress) {
    this.#gallery = gallery;
    this.#filters = filters;
    this.#progress = progress;
  }

  get canUndo() {
    return this.#undo !== null;
  }

  forget() {
    this.#undo = null;
  }

  // Excludes ("put-aside") drawings, or restores them: out of quarantine, too. They then leave the gallery.
  move(path, ids) {
    return this.#make(this.#moving(path, ids), new Map());
  }

  // `known`: id → {label, guess} of drawings; `labels`: id → the label that each gets. Drawings in quarantine are also
  // accepted.
  relabel(known, labels) {
    const changing = new Map([...labels].filter(([id, label]) => known.get(id).label !== label));
    const before = new Map([...changing.keys()].map((id) => [id, known.get(id).label]));
    const accepting = this.#filters.showsQuarantine ? this.#moving("restore", [...labels.keys()]) : [];
    return this.#make([...relabelling(changing, before), ...accepting], changing);
  }

  // A change that was made elsewhere; `undo()` takes it back, and returns how many drawings are again as they were.
  made(undo) {
    this.#undo = { elsewhere: undo };
  }

  // Returns how many drawings are again as they were. If it fails in the middle, the error says so.
  async undo() {
    const undo = this.#undo;
    if (undo.elsewhere) {
      this.forget();
      return undo.elsewhere();
    }
    try {
      await this.#send(undo.steps, (step) => step.ids.forEach((id) => undo.undone.add(id)));
    } catch (error) {
      const part = t("edits.part-as-before", { done: undo.undone.size, n: undo.of });
      throw new Unfinished(`${part} ${reason(error)} ${t("edits.undo-goes-on")}`);
    }
    this.forget();
    undo.show();
    return undo.undone.size;
  }

  #moving(path, ids) {
    const opposite = this.#filters.showsQuarantine ? "hold" : OPPOSITE[path];
    return steps(path, ids, {}, (part) => steps(opposite, part, {}));
  }

  // Takes the steps of a change, shows in the gallery those that were done, and returns how many drawings changed.
  async #make(todo, labels) {
    this.forget();
    const total = this.#gallery.total;
    const back = [];
    const done = { relabelled: new Set(), moved: new Set() };
    const touched = () => new Set([...done.relabelled, ...done.moved]).size;
    const all = new Set(todo.flatMap(({ ids }) => ids)).size;
    try {
      return await this.#send(todo, (step) => {
        back.unshift(...step.back);
        step.ids.forEach((id) => (step.path === "relabel" ? done.relabelled : done.moved).add(id));
      });
    } catch (error) {
      if (!back.length) throw error;
      const part = t("edits.part-changed", { done: touched(), n: all });
      throw new Unfinished(`${part} ${reason(error)} ${t("edits.undo-takes-back")}`);
    } finally {
      const show = this.#show(done, labels, total);
      if (back.length) this.#undo = { steps: back, undone: new Set(), of: touched(), show };
    }
  }

  // Shows what was done; returns what shows it undone.
  #show({ relabelled, moved }, labels, total) {
    const before = this.#gallery.items.filter(({ id }) => relabelled.has(id)).map((item) => ({ item, was: { ...item } }));
    for (const { item } of before) {
      item.earlier = [...item.earlier, item.label];
      item.label = labels.get(item.id);
      item.confidence = null; // it was about the earlier label
    }
    const leaving = new Set([...moved, ...[...relabelled].filter((id) => !this.#filters.has(labels.get(id)))]);
    const gone = leaving.size ? this.#gallery.remove(leaving) : [];
    this.#gallery.select([...this.#gallery.selected].filter((id) => !leaving.has(id)));
    return () => {
      for (const { item, was } of before) Object.assign(item, was, { earlier: [...item.earlier, item.label] });
      this.#gallery.putBack(gone, total);
    };
  }

  // Sends steps, and takes each that was done off the list. Returns how many drawings changed.
  async #send(todo, sent) {
    const all = todo.reduce((sum, { ids }) => sum + ids.length, 0);
    const changed = {};
    let done = 0;
    while (todo.length) {
      const { path, ids, body } = todo[0];
      const answer = await ask(`api/drawings/${path}`, { ids, ...body });
      changed[path] = (changed[path] ?? 0) + answer.changed;
      sent(todo.shift());
      this.#progress((done += ids.length), all);
    }
    return Math.max(0, ...Object.values(changed));
  }
}

// The line that says what a change did.
export function changedTo(n, label, isAccepted) {
  if (label === null) return isAccepted ? t("edits.accepted-as-guessed", { n }) : t("edits.relabelled-as-guessed", { n });
  const values = { n, label: shown(label) };
  return isAccepted ? t("edits.accepted", values) : t("edits.relabelled", values);
}

// The guess of each drawing, as labels.
export const guesses = (known, ids) => new Map([...ids].map((id) => [id, known.get(id).guess]).filter(([, guess]) => guess));

// What is known of the drawings that the gallery has loaded.
export const listed = (items) => new Map(items.map((item) => [item.id, { label: item.label, guess: guessed(item) }]));
