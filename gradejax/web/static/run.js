// A finished run in detail: figures, curves, confusion, reliability, mistakes, and the rest of its summary.

import { shown, spoken } from "./drawings.js";
import { confusion, curves, percent, reliability } from "./plots.js";

function element(name, text = "", className = "") {
  const node = document.createElement(name);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

// 98.9% (97.9 to 99.5%)
export function accuracyText(accuracy, interval) {
  if (accuracy === null) return "–";
  return interval ? `${percent(accuracy)} (${(100 * interval[0]).toFixed(1)} to ${percent(interval[1])})` : percent(accuracy);
}

const count = (n, thing) => `${n.toLocaleString("en")} ${thing}${n === 1 ? "" : "s"}`;

function heading(run) {
  const line = element("div", "", "heading");
  const title = element("h2", run.name);
  title.id = "detail-heading";
  line.append(title);
  return line;
}

function about({ run }) {
  if (run.accuracy === null) return element("p", "This run does not say how good it is.");
  const whose = run.split === "writer" ? `${count(run.writers, "writer")} it has not seen` : `writers it was trained on (${run.split} split)`;
  const mixed = run.n_mixed ? ` and ${run.n_mixed.toLocaleString("en")} synthetic ones` : "";
  const trained = `Trained on ${count(run.n_train, "drawing")}${mixed}${run.tags ? `, tagged ${run.tags}` : ""}.`;
  return element("p", `Reads ${accuracyText(run.accuracy, run.interval)} of ${count(run.n_val, "drawing")} by ${whose}. ${trained}`);
}

function mistakes({ mistakes, n_mistakes, confusion }) {
  const section = element("div");
  const text = !confusion ? "" : n_mistakes ? `Misread: ${count(n_mistakes, "drawing")}${n_mistakes > mistakes.length ? `, the ${mistakes.length} most confident first` : ""}` : "No drawing was misread.";
  section.append(element("h3", text));
  const list = element("ul", "", "mistakes");
  for (const { id, label, guess, confidence } of mistakes) {
    const item = element("li");
    const picture = element("img");
    picture.alt = `A drawing labelled ${spoken(label)}`;
    picture.src = `api/picture?id=${encodeURIComponent(id)}`;
    picture.addEventListener("error", () => picture.replaceWith(element("span", "no longer in the store", "quiet gone")));
    const caption = element("span");
    caption.append(element("b", shown(label)), ` read as `, element("b", shown(guess)), ` ${percent(confidence, 0)}`);
    item.append(picture, caption);
    list.append(item);
  }
  section.append(list);
  return section;
}

function summary({ facts }) {
  const details = element("details");
  details.append(element("summary", "Summary"));
  const list = element("dl", "", "facts");
  for (const [name, value] of Object.entries(facts)) list.append(element("dt", name), element("dd", value));
  details.append(list);
  return details;
}

export function showRun(section, detail) {
  const { run, history, labels, confusion: counts, bins } = detail;
  section.replaceChildren(heading(run), about(detail));
  if (history.length) section.append(curves(history, history.length, run.name));
  const data = `${run.name}, ${run.split === "writer" ? "unseen writers" : `${run.split} split`}`;
  if (counts) {
    const link = (label, guess) => `browse?${new URLSearchParams({ label, guess, by: "disagreement" })}`;
    const pair = element("div", "", "pair");
    pair.append(confusion(labels, counts, data, link), reliability(bins, run.ece, data));
    section.append(pair);
  } else section.append(element("p", "This run was made by an earlier gradejax, and does not say what it read.", "quiet"));
  section.append(mistakes(detail), summary(detail));
  section.hidden = false;
}
