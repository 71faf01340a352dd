// What Draw and Guess share: the paper and its buttons, the tags, and a finished drawing's way to the store and back.

import { drawing, keepTags, keptTags, tagsIn } from "./drawings.js";
import { enable } from "./focus.js";
import { shown } from "./labels.js";
import { t } from "./language.js";
import { note } from "./note.js";
import { Pad } from "./pad.js";
import { NOT_KEPT, Queue } from "./queue.js";
import { showRefused } from "./refused.js";
import { refreshOffer, refreshOldOffer, TagField } from "./tagging.js";
import { keepUnfinished } from "./unfinished.js";

export const element = (id) => document.getElementById(id);
export const pad = new Pad(element("paper"));
export const queue = new Queue();

// The address may name tags: /?tags=test-set. They are for this page only.
const addressed = new URLSearchParams(location.search).get("tags");
const field = new TagField(
  element("tagging"),
  "tags",
  { many: t("tagging.tags"), one: t("tagging.tag") },
  addressed === null ? keptTags() : tagsIn(addressed),
  { changed: (tags) => addressed === null && keepTags(tags) },
);
let dropped = null; // {label, strokes}: what Clear or Skip took off the paper; Undo brings it back
let latest = null; // the drawing finished last, while it waits to be sent
let page; // see `start`

// Wires the paper. `labelled()` is the label that belongs to the drawing on the paper, if any; `bring({label, strokes})`
// puts a drawing on the paper; `saidOf(drawing)` says that it is saved. Returns whether a drawing was left by an
// earlier visit, which is on the paper then.
export function start(name, labelled, bring, saidOf) {
  page = { labelled, bring, saidOf };
  const left = keepUnfinished(name, pad, labelled);
  pad.clear();
  if (left) {
    bring(left);
    note(t("desk.left-unfinished"));
  }
  queue.isKept.then((isKept) => isKept || note(NOT_KEPT));
  return left !== null;
}

// Takes the drawing off the paper, for Undo to bring back. Returns whether there was one.
export function drop() {
  if (pad.isEmpty) return false;
  dropped = { label: page.labelled(), strokes: pad.strokes };
  pad.clear();
  return true;
}

// Takes the drawing off the paper and sends it. Without any tags it stays, and the page asks for them.
export function finish(label, ...moreTags) {
  if (field.problem) {
    field.focus();
    note(field.problem);
    return false;
  }
  const tags = [...new Set([...field.tags, ...moreTags])];
  latest = drawing(pad, label, tags);
  dropped = null;
  pad.clear();
  queue.add(latest);
  return true;
}

function undo() {
  if (!pad.isEmpty) return pad.undo();
  if (!dropped) return;
  const again = dropped;
  dropped = null;
  note("");
  page.bring(again);
}

const takeBack = (drawing) => ({
  name: t("desk.take-back"),
  async act() {
    latest = null;
    await queue.takeBack(drawing);
    note(t("desk.taken-back", { grade: shown(drawing.label) }));
    if (pad.isEmpty) page.bring(drawing);
  },
});

queue.addEventListener("renamed", ({ detail: { sent, saved } }) => field.rename(sent, saved));
queue.addEventListener("saved", ({ detail }) => {
  if (detail.id === latest?.id) latest = null;
  const said = queue.held.has(detail.id) ? t("desk.held", { grade: shown(detail.label) }) : page.saidOf(detail);
  note(said, false, takeBack(detail));
  refreshOldOffer();
});
queue.addEventListener("kept", ({ detail }) => note(detail, true));
queue.addEventListener("change", () => queue.notice && note(queue.notice, false, latest && takeBack(latest)));
showRefused(element("refused"), queue);

pad.addEventListener("change", () => {
  enable(element("clear"), !pad.isEmpty);
  enable(element("undo"), !pad.isEmpty || dropped !== null);
});
element("undo").addEventListener("click", undo);
element("clear").addEventListener("click", drop);
document.addEventListener("keydown", (event) => {
  // Except in a text field, which has its own undo.
  if (event.key.toLowerCase() !== "z" || !(event.ctrlKey || event.metaKey) || event.target.closest("input")) return;
  event.preventDefault();
  undo();
});

if (addressed === null) {
  addEventListener("storage", ({ key }) => key === "tags" && (field.tags = keptTags())); // changed in another tab
}
document.addEventListener("visibilitychange", () => document.hidden || refreshOffer());
refreshOffer();
