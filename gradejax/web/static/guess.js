// The guess follows the pen: after each stroke, the likeliest grades, or that the drawing is not a grade.

import { element, finish, pad, start } from "./desk.js";
import { enable, leave } from "./focus.js";
import { shown, spoken } from "./labels.js";
import { t } from "./language.js";
import { note } from "./note.js";
import { showReading } from "./reading.js";
import { arrange, GRADES, LABELS } from "./scale.js";
import { ask, reason, sentence } from "./server.js";

const NOTHING = { guesses: [], is_grade: false };

let model = null; // the name of the one that guesses
let guess = null; // what is on the paper now: the likeliest grade, or no grade
let asking = new AbortController();
let remarked = false; // whether the note is about the guess

function show(answer) {
  guess = showReading(pad, answer);
  enable(element("right"), guess !== null);
  element("right").textContent = guess === null ? t("guess.right") : t("guess.right-grade", { grade: shown(guess) });
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

element("hint").textContent = t("guess.hint", { first: shown(GRADES[0]), last: shown(GRADES.at(-1)) });
arrange(element("grades"));
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
