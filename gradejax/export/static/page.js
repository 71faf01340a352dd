// The page that gradejax.export writes: Guess, with the recogniser in it.

import { enable } from "./focus.js";
import { fit, shown } from "./labels.js";
import { speak, t } from "./language.js";
import { note } from "./note.js";
import { Pad, SIDE } from "./pad.js";
import { showReading } from "./reading.js";
import { recogniser } from "./recogniser.js";
import { keep, kept } from "./storage.js";

const KEY = "gradejax-language";

const element = (id) => document.getElementById(id);
const read = (id) => JSON.parse(element(id).textContent);
const languages = read("languages"); // code → {name, texts, source}
const model = read("model");
const [first, last] = [model.labels[0], model.labels.at(-1)];
const guess = recogniser(model, SIDE);
const pad = new Pad(element("paper"));
let answer = { guesses: [], is_grade: false };
let dropped = null; // the strokes that Clear took off the paper; Undo brings them back

function show() {
  element("hint").hidden = !pad.isEmpty;
  showReading(pad, answer);
  note(pad.isEmpty || answer.is_grade ? "" : t("guess.not-a-grade"));
}

function follow() {
  answer = pad.isEmpty ? { guesses: [], is_grade: false } : guess(pad.alpha());
  enable(element("clear"), !pad.isEmpty);
  enable(element("undo"), !pad.isEmpty || dropped !== null);
  show();
}

function clear() {
  dropped = pad.strokes;
  pad.clear();
}

function undo() {
  if (!pad.isEmpty) return pad.undo();
  if (!dropped) return;
  const again = dropped;
  dropped = null;
  pad.show(again);
}

// Says everything in a language.
function sayIn(code) {
  const { texts, source } = languages[code];
  document.documentElement.lang = code;
  speak(code, texts);
  document.title = `${t("page.guess")} – gradejax`;
  element("heading").textContent = t("page.guess");
  element("hint").textContent = t("guess.hint", { first: shown(first), last: shown(last) });
  element("undo").textContent = t("desk.undo");
  element("clear").textContent = t("desk.clear");
  element("bars").ariaLabel = t("guess.likeliest");
  element("language").ariaLabel = t("bar.language");
  element("source").textContent = source;
  element("offline").textContent = t("export.offline");
  pad.describe();
  show();
}

// The one that was chosen here, else the first of the browser's that there is.
function preferred() {
  const codes = [kept(KEY), ...navigator.languages.map((tag) => tag.toLowerCase().split("-")[0]), "en"];
  return codes.find((code) => Object.hasOwn(languages, code));
}

for (const [code, { name }] of Object.entries(languages)) {
  const option = new Option(name, code);
  option.lang = code;
  element("language").append(option);
}
element("language").value = preferred();
element("language").addEventListener("change", ({ target }) => {
  keep(KEY, target.value);
  sayIn(target.value);
});

pad.addEventListener("begin", () => (element("hint").hidden = true));
pad.addEventListener("change", follow);
element("undo").addEventListener("click", undo);
element("clear").addEventListener("click", clear);
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "z" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  undo();
});

fit(model.labels);
sayIn(preferred());
follow();
