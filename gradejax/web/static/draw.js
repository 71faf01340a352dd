// Draw the grades that the page asks for: mostly those that the store has fewest of.

import { drawing, problemWith, GRADES, keepTags, keptTags, shown, spoken, tagsIn } from "/static/drawings.js";
import { keep, kept } from "/static/storage.js";
import { note } from "/static/note.js";
import { Pad, undoByKey } from "/static/pad.js";
import { NOT_KEPT, Queue } from "/static/queue.js";
import { showRefused } from "/static/refused.js";
import { ask, reason } from "/static/server.js";

const REFRESH = 15000; // milliseconds between updates of the counts
const PATIENCE = 4000; // milliseconds that the first prompt waits for them

const element = (id) => document.getElementById(id);
const pad = new Pad(element("paper"));
const queue = new Queue();
let counts = Object.fromEntries(GRADES.map((grade) => [grade, 0]));
let prompt = null;
let refreshed = 0;

// Picks a grade at random, likelier the fewer drawings it has; never the same twice in a row.
function choose() {
  const most = Math.max(...Object.values(counts));
  const candidates = GRADES.filter((grade) => grade !== prompt);
  const weights = candidates.map((grade) => most - counts[grade] + 1);
  let place = Math.random() * weights.reduce((sum, weight) => sum + weight, 0);
  return candidates.find((_, i) => (place -= weights[i]) < 0) ?? candidates.at(-1);
}

function askFor(grade) {
  prompt = grade;
  const visible = document.createElement("strong");
  visible.textContent = shown(grade);
  visible.ariaHidden = "true";
  const audible = document.createElement("span");
  audible.className = "spoken";
  audible.textContent = spoken(grade);
  element("prompt").replaceChildren("Draw ", visible, audible);
}

function showTotals() {
  element("mine").textContent = Number(kept("drawn") ?? 0).toLocaleString();
  element("all").textContent = Object.values(counts).reduce((sum, count) => sum + count, 0).toLocaleString();
}

async function refreshCounts() {
  refreshed = Date.now();
  const { grades } = await ask("/api/status", undefined, AbortSignal.timeout(PATIENCE));
  for (const grade of GRADES) counts[grade] = grades[grade] ?? 0;
  showTotals();
}

async function save() {
  if (prompt === null) return; // the first one is still being chosen
  const tags = tagsIn(element("tags").value);
  if (pad.isEmpty) return note(`Draw ${shown(prompt)} first.`, true);
  const problem = problemWith(tags);
  if (problem) {
    element("tags").focus();
    return note(problem, true);
  }
  const finished = drawing(pad, prompt, tags);
  pad.clear();
  askFor(choose());
  await queue.add(finished);
}

function skip() {
  pad.clear();
  askFor(choose());
  note("");
}

queue.addEventListener("saved", ({ detail }) => {
  keep("drawn", Number(kept("drawn") ?? 0) + 1);
  counts[detail.label]++;
  showTotals();
  note(`${shown(detail.label)} saved.`);
  if (Date.now() - refreshed > REFRESH) refreshCounts().catch(() => {});
});
queue.addEventListener("change", () => queue.notice && note(queue.notice, true));
showRefused(element("refused"), queue);

pad.addEventListener("change", () => {
  element("undo").disabled = element("clear").disabled = pad.isEmpty;
});
element("undo").addEventListener("click", () => pad.undo());
element("clear").addEventListener("click", () => pad.clear());
element("skip").addEventListener("click", skip);
element("save").addEventListener("click", save);
// The address may name tags: /?tags=test-set. They are for this page only.
element("tags").value = new URLSearchParams(location.search).get("tags") ?? keptTags().join(", ");
element("tags").addEventListener("change", (event) => keepTags(tagsIn(event.target.value)));
element("tags").addEventListener("keydown", (event) => event.key === "Enter" && event.target.blur());
undoByKey(pad);
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.target.closest("a, button, input")) save();
});

showTotals();
pad.clear();
await refreshCounts().catch((error) => note(reason(error), true));
askFor(choose());
if (!(await queue.isKept)) note(NOT_KEPT, true);
