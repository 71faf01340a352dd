// The guess follows the pen: after each stroke, the likeliest grades, or that the drawing is not a grade.

import { element, finish, pad, start } from "./desk.js";
import { LABELS, NO_GRADE, shown, spoken } from "./drawings.js";
import { enable, leave } from "./focus.js";
import { percent, t } from "./language.js";
import { note } from "./note.js";
import { ask, reason, sentence } from "./server.js";

const PLACEHOLDERS = 5; // empty bars before the first guess, so that nothing moves when it arrives
const NOTHING = { guesses: [], is_grade: false };

let model = null; // the name of the one that guesses
let guess = null; // what is on the paper now: the likeliest grade, or no grade
let asking = new AbortController();
let remarked = false; // whether the note is about the guess

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
    share.textContent = label ? percent(confidence) : "";
  });
  element("bars").classList.toggle("dim", !is_grade);
  guess = guesses.length ? (is_grade ? guesses[0].label : NO_GRADE) : null;
  element("guess").textContent = guess === null ? "" : shown(guess);
  element("guess").classList.toggle("none", guess === NO_GRADE);
  element("copy").hidden = guess === null; // before it is drawn on, for hidden it has no size
  if (guess !== null) pad.copyTo(element("copy"));
  enable(element("right"), guess !== null);
  element("right").textContent = guess === null ? t("guess.right") : t("guess.right-grade", { grade: shown(guess) });
  // The note says that it is no grade.
  element("said").textContent = is_grade
    ? t("guess.said", { grade: spoken(guess), percent: Math.round(100 * guesses[0].confidence) })
    : "";
}

// A note about the guess. It leaves others alone, such as the offer to take a drawing back.
function remark(text, isError = false) {
  if (text || remarked) note(text, isError);
  remarked = text !== "";
}

async function follow() {
  asking.abort();
  element("hint").hidden = !pad.isEmpty;
  enable(element("wrong"), !pad.isEmpty);
  if (pad.isEmpty) {
    offer(false);
    remark("");
    return show(NOTHING);
  }
  enable(element("right"), false); // until the new guess arrives
  asking = new AbortController();
  const { signal } = asking;
  try {
    const answer = await ask("api/guess", { data: pad.png() }, signal);
    show(answer);
    remark(answer.is_grade ? "" : t("guess.not-a-grade"));
    if (answer.model !== model) showSource(); // another one has been chosen since
  } catch (error) {
    if (signal.aborted) return; // a newer stroke is being guessed
    show(NOTHING);
    remark(reason(error), true);
  }
}

// Says which model guesses, and how good it is.
async function showSource() {
  try {
    const { model: name, model_missing, about, trained_on } = await ask("api/status");
    model = name;
    const shipped = `${t("guess.by-shipped")} ${t("guess.trained-on")}`;
    element("source").textContent = trained_on ? shipped : about ? t("guess.by", { about }) : "";
    if (model_missing) note(sentence(model_missing), true);
  } catch (error) {
    note(reason(error), true);
  }
}

function offer(open) {
  if (!open) leave(element("grades"));
  element("grades").hidden = !open;
  element("wrong").ariaExpanded = String(open);
}

for (const label of LABELS) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = shown(label);
  button.ariaLabel = spoken(label);
  button.addEventListener("click", () => finish(label, "guess"));
  element("grades").append(button);
}

pad.addEventListener("begin", () => (element("hint").hidden = true));
pad.addEventListener("change", follow);
element("right").addEventListener("click", () => finish(guess, "guess"));
element("wrong").addEventListener("click", () => {
  offer(element("grades").hidden);
  if (element("grades").hidden) return;
  element("grades").scrollIntoView({ block: "nearest" });
  element("grades").querySelector("button").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || element("grades").hidden) return;
  offer(false);
  element("wrong").focus();
});

const saidOf = ({ label, tags }) => t("guess.saved", { grade: shown(label), tags: tags.join(", ") });
start("unfinished-guess", () => null, ({ strokes }) => pad.show(strokes), saidOf);
showSource();
