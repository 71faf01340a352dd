// Draw the grades that the page asks for: mostly those that the store has fewest of.

import { drop, element, finish, pad, queue, start } from "./desk.js";
import { shown, spoken } from "./labels.js";
import { number, t } from "./language.js";
import { note } from "./note.js";
import { choose } from "./prompts.js";
import { GRADES } from "./scale.js";
import { ask, reason } from "./server.js";
import { keep, kept } from "./storage.js";

const REFRESH = 15000; // milliseconds between updates of the counts
const PATIENCE = 4000; // milliseconds that the first prompt waits for them

const counts = new Map(GRADES.map((grade) => [grade, 0]));
let prompt = null;
let refreshed = 0;

function askFor(grade) {
  prompt = grade;
  const visible = document.createElement("strong");
  visible.textContent = shown(grade);
  visible.ariaHidden = "true";
  const audible = document.createElement("span");
  audible.className = "spoken";
  audible.textContent = spoken(grade);
  const [before, after] = t("draw.prompt", { grade: "|" }).split("|");
  element("prompt").replaceChildren(before, visible, audible, after);
}

function showTotals() {
  element("mine").textContent = number(Number(kept("drawn") ?? 0));
  element("all").textContent = number([...counts.values()].reduce((sum, count) => sum + count, 0));
}

async function refreshCounts() {
  refreshed = Date.now();
  const { grades, retention_days } = await ask("api/status", undefined, AbortSignal.timeout(PATIENCE));
  element("retention").textContent = retention_days === null ? "" : t("draw.retention", { n: retention_days });
  for (const grade of GRADES) counts.set(grade, grades[grade] ?? 0);
  showTotals();
}

// One more drawing in the store, or one less. One that waits for the teacher counts as drawn, but is not in use.
function count({ id, label }, more) {
  keep("drawn", Math.max(0, Number(kept("drawn") ?? 0) + more));
  if (counts.has(label) && !queue.held.has(id)) counts.set(label, counts.get(label) + more);
  showTotals();
  if (Date.now() - refreshed > REFRESH) refreshCounts().catch(() => {});
}

function save() {
  if (prompt === null) return; // the first one is still being chosen
  if (pad.isEmpty) return note(t("draw.first", { grade: shown(prompt) }));
  if (finish(prompt)) askFor(choose(counts, prompt));
}

function skip() {
  const skipped = prompt;
  const hadInk = drop();
  askFor(choose(counts, prompt));
  note(hadInk ? t("draw.skipped", { grade: shown(skipped) }) : "");
}

function bring({ label, strokes }) {
  if (label !== null && !GRADES.includes(label)) return; // of no grade, drawn on Guess, or of an earlier scale
  if (label !== null) askFor(label);
  pad.show(strokes);
}

queue.addEventListener("saved", ({ detail }) => count(detail, 1));
queue.addEventListener("taken", ({ detail }) => count(detail, -1));
element("skip").addEventListener("click", skip);
element("save").addEventListener("click", save);
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.target.closest("a, button, input, select")) save();
});

showTotals();
start("unfinished-draw", () => prompt, bring, ({ label }) => t("draw.saved", { grade: shown(label) }));
await refreshCounts().catch((error) => note(reason(error), true));
if (prompt === null) askFor(choose(counts, prompt));
