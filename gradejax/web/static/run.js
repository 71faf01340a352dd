// A finished run in detail: figures, curves, confusion, reliability, mistakes, and the rest of its summary.

import { downloads } from "./downloads.js";
import { shown, spoken } from "./labels.js";
import { decimal, percent, t } from "./language.js";
import { confusion, curves, reliability } from "./plots.js";

function element(name, text = "", className = "") {
  const node = document.createElement(name);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

// 98.9% (97.9 to 99.5%)
export function accuracyText(accuracy, interval) {
  if (accuracy === null) return "–";
  const [mean, low, high] = [accuracy, ...(interval ?? [])].map((share) => percent(share, 1));
  return interval ? t("run.accuracy", { mean, low: decimal(100 * interval[0], 1), high }) : mean;
}

// How drawings were split where some are by writers that it was trained on.
export const splitName = (split) => ({ random: t("run.random-split"), sequential: t("run.sequential-split") })[split] ?? "–";

function heading(run) {
  const line = element("div", "", "heading");
  const title = element("h2", run.name);
  title.id = "detail-heading";
  line.append(title, element("span", t("download.title"), "quiet"), downloads(run.name));
  return line;
}

function about({ run }) {
  if (run.accuracy === null) return element("p", t("run.no-accuracy"));
  const { n_train: n, n_mixed: mixed, n_val: drawings, tags } = run;
  const values = { accuracy: accuracyText(run.accuracy, run.interval), drawings };
  const sentences = [
    run.split === "writer"
      ? t("run.reads-unseen", { ...values, n: run.writers })
      : t("run.reads-known", { ...values, split: splitName(run.split) }),
    mixed ? t("run.trained-on-both", { n, mixed }) : t("run.trained-on", { n }),
  ];
  if (tags) sentences.push(t("run.only-tagged", { tags }));
  return element("p", sentences.join(" "));
}

function misread({ mistakes: { length: first }, n_mistakes: n, confusion }) {
  if (!confusion) return "";
  if (!n) return t("run.none-misread");
  return n > first ? t("run.misread-first", { n, first }) : t("run.misread", { n });
}

function mistakes(detail) {
  const section = element("div");
  section.append(element("h3", misread(detail)));
  const list = element("ul", "", "mistakes");
  for (const { id, label, guess, confidence } of detail.mistakes) {
    const item = element("li");
    const picture = element("img");
    picture.alt = t("run.drawing-labelled", { label: spoken(label) });
    picture.src = `api/picture?id=${encodeURIComponent(id)}`;
    picture.addEventListener("error", () => picture.replaceWith(element("span", t("run.gone"), "quiet gone")));
    const read = { label: shown(label), guess: shown(guess), confidence: percent(confidence) };
    item.append(picture, element("span", t("run.read-as", read)));
    list.append(item);
  }
  section.append(list);
  return section;
}

function summary({ facts }) {
  const details = element("details");
  details.append(element("summary", t("run.summary")));
  const list = element("dl", "", "facts");
  for (const [name, value] of Object.entries(facts)) list.append(element("dt", name), element("dd", value));
  details.append(list);
  return details;
}

export function showRun(section, detail) {
  const { run, history, bins } = detail;
  section.replaceChildren(heading(run), about(detail));
  if (history.length) section.append(curves(history, history.length, run.name));
  const split = run.split === "writer" ? t("run.unseen-writers") : splitName(run.split);
  const data = `${run.name}, ${split}`;
  if (detail.confusion) {
    const link = (label, guess) => `browse?${new URLSearchParams({ label, guess, by: "disagreement" })}`;
    const pair = element("div", "", "pair");
    pair.append(confusion(detail, data, link), reliability(bins, run.ece, data));
    section.append(pair);
  } else section.append(element("p", t("run.of-an-earlier-gradejax"), "quiet"));
  section.append(mistakes(detail), summary(detail));
  section.hidden = false;
}
