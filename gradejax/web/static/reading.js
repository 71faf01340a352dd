// What the model reads: the answer, the same grade in the visitor's own hand, and what else it might be.

import { NO_GRADE, shown, spoken } from "./labels.js";
import { percent, t } from "./language.js";

const PLACEHOLDERS = 5; // empty bars before the first guess, so that nothing moves when it arrives

const element = (id) => document.getElementById(id);

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

// Shows an answer to api/guess. Returns the likeliest grade, or no grade; null if there are no guesses.
export function showReading(pad, { guesses, is_grade }) {
  while (bars.length < guesses.length) bars.push(addBar());
  bars.forEach(({ grade, filled, share }, i) => {
    const { label, confidence } = guesses[i] ?? { label: "", confidence: 0 };
    grade.textContent = shown(label);
    filled.style.width = `${100 * confidence}%`;
    share.textContent = label ? percent(confidence) : "";
  });
  element("bars").classList.toggle("dim", !is_grade);
  const guess = guesses.length ? (is_grade ? guesses[0].label : NO_GRADE) : null;
  element("guess").textContent = guess === null ? "" : shown(guess);
  element("guess").classList.toggle("none", guess === NO_GRADE);
  element("copy").hidden = guess === null; // before it is drawn on, for hidden it has no size
  if (guess !== null) pad.copyTo(element("copy"));
  // The note says that it is no grade.
  element("said").textContent = is_grade
    ? t("guess.said", { grade: spoken(guess), percent: Math.round(100 * guesses[0].confidence) })
    : "";
  return guess;
}
