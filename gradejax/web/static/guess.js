// The guess follows the pen: after each stroke, the likeliest grades, or that the drawing is not a grade.

import { drawing, keptTags, LABELS, NO_GRADE, shown, spoken } from "/static/drawings.js";
import { note } from "/static/note.js";
import { Pad, undoByKey } from "/static/pad.js";
import { NOT_KEPT, Queue } from "/static/queue.js";
import { showRefused } from "/static/refused.js";
import { ask, reason, sentence } from "/static/server.js";

const PLACEHOLDERS = 5; // empty bars before the first guess, so that nothing moves when it arrives
const NOTHING = { guesses: [], is_grade: false };

const element = (id) => document.getElementById(id);
const pad = new Pad(element("paper"));
const queue = new Queue();
let model = null; // the name of the one that guesses
let guess = null; // what is on the paper now: the likeliest grade, or no grade
let asking = new AbortController();

function addBar() {
  const row = document.createElement("li");
  const [grade, track, filled, share] = Array.from({ length: 4 }, () => document.createElement("span"));
  track.className = "track";
  track.append(filled);
  share.className = "share";
  row.append(grade, track, share);
  element("bars").append(row);
  return { grade, filled, share };
}

const bars = Array.from({ length: PLACEHOLDERS }, addBar);

function show({ guesses, is_grade }) {
  while (bars.length < guesses.length) bars.push(addBar());
  bars.forEach(({ grade, filled, share }, i) => {
    const { label, confidence } = guesses[i] ?? { label: "", confidence: 0 };
    grade.textContent = shown(label);
    filled.style.width = `${100 * confidence}%`;
    share.textContent = label ? `${Math.round(100 * confidence)}%` : "";
  });
  element("bars").classList.toggle("dim", !is_grade);
  guess = guesses.length ? (is_grade ? guesses[0].label : NO_GRADE) : null;
  element("right").disabled = guess === null;
  element("right").textContent = guess === null ? "Right" : `Right, ${shown(guess)}`;
  // The note says that it is no grade.
  element("said").textContent = is_grade ? `${spoken(guess)}, ${Math.round(100 * guesses[0].confidence)} percent` : "";
}

async function follow() {
  asking.abort();
  element("hint").hidden = !pad.isEmpty;
  element("undo").disabled = element("clear").disabled = element("wrong").disabled = pad.isEmpty;
  element("right").disabled = true; // until the new guess arrives
  if (pad.isEmpty) {
    offer(false);
    note("");
    return show(NOTHING);
  }
  asking = new AbortController();
  const { signal } = asking;
  try {
    const answer = await ask("/api/guess", { data: pad.png() }, signal);
    show(answer);
    if (answer.model !== model) describeModel(); // another one has been chosen since
    note(answer.is_grade ? "" : "This does not look like a grade.");
  } catch (error) {
    if (signal.aborted) return; // a newer stroke is being guessed
    show(NOTHING);
    note(reason(error), true);
  }
}

// Says which model guesses, and how good it is.
async function describeModel() {
  try {
    const { model: name, model_missing, about, trained_on } = await ask("/api/status");
    model = name;
    if (model_missing) note(sentence(model_missing), true);
    const source = "These guesses are by the model that comes with gradejax, until you train your own.";
    const text = trained_on ? `${source} ${trained_on}` : about ? `These guesses are by ${about}.` : "";
    element("shipped").textContent = text;
    element("shipped").hidden = !text;
  } catch (error) {
    note(reason(error), true);
  }
}

function offer(open) {
  element("grades").hidden = !open;
  element("wrong").ariaExpanded = String(open);
}

async function save(label) {
  const finished = drawing(pad, label, [...new Set([...keptTags(), "guess"])]);
  pad.clear();
  await queue.add(finished);
}

for (const label of LABELS) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = shown(label);
  button.ariaLabel = spoken(label);
  button.addEventListener("click", () => save(label));
  element("grades").append(button);
}

queue.addEventListener("saved", ({ detail }) => note(`Saved as ${shown(detail.label)}.`));
queue.addEventListener("change", () => queue.notice && note(queue.notice, true));
showRefused(element("refused"), queue);
pad.addEventListener("begin", () => (element("hint").hidden = true));
pad.addEventListener("change", follow);
element("undo").addEventListener("click", () => pad.undo());
element("clear").addEventListener("click", () => pad.clear());
element("right").addEventListener("click", () => save(guess));
element("wrong").addEventListener("click", () => {
  offer(element("grades").hidden);
  if (element("grades").hidden) return;
  element("grades").scrollIntoView({ block: "nearest" });
  element("grades").querySelector("button").focus();
});
undoByKey(pad);

pad.clear();
describeModel();
if (!(await queue.isKept)) note(NOT_KEPT, true);
