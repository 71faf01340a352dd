// The numbers of drawings: a chart by label, and a table by tag and label.

import { byName } from "./drawings.js";
import { NO_GRADE, shown, spoken } from "./labels.js";
import { number, t } from "./language.js";
import { GRADES, GROUPS, LABELS } from "./scale.js";

const SVG = "http://www.w3.org/2000/svg";
const [GAP, GROUP_GAP, HEIGHT] = [4, 10, 90];
const BAR = Math.max(26, ...GRADES.map((grade) => 9 * grade.length)); // each has its name below it
const LEAST = 320; // pixels across
const KEEP_THEIR_NAMES = ["guess", "test-set", "quarantine"];
const ROOM = 16; // beside the bar of no grade, whose name is wider

const rounded = (n) => (n < 100 ? Number(n.toPrecision(2)) : Math.round(n));

// 1.2K fits above a bar. The browser's own short numbers are longer in some languages.
function short(n) {
  if (n < 1000) return number(n);
  if (n < 999_500) return t("counts.thousands", { thousands: rounded(n / 1000) });
  return t("counts.millions", { millions: rounded(n / 1e6) });
}

function svg(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// `totals`: for each of LABELS. Drawings of no grade have a bar only where there are some.
function chart(totals, title) {
  const labels = totals.at(-1) ? LABELS : GRADES;
  const most = Math.max(1, ...totals);
  const gaps = (i) => [...GROUPS, GRADES.length].filter((start) => start <= i).length;
  const room = (label) => (label === NO_GRADE ? ROOM : 0);
  const left = (label, i) => i * (BAR + GAP) + gaps(i) * GROUP_GAP + room(label);
  const width = left(labels.at(-1), labels.length - 1) + BAR + GAP + room(labels.at(-1));
  const node = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${HEIGHT + 36}`, role: "img" });
  node.style.flexBasis = `${Math.max(LEAST, 0.65 * width)}px`; // more grades do not make the text smaller
  node.append(svg("title", {}, title));
  labels.forEach((label, i) => {
    const x = left(label, i);
    const height = (HEIGHT * totals[i]) / most;
    const y = 16 + HEIGHT - height;
    node.append(
      svg("rect", { x, y, width: BAR, height, rx: Math.min(3, height / 2) }),
      svg("text", { x: x + BAR / 2, y: y - 4 }, short(totals[i])),
      svg("text", { x: x + BAR / 2, y: HEIGHT + 32 }, shown(label)),
    );
  });
  node.append(svg("line", { x1: 0, x2: width, y1: HEIGHT + 16.5, y2: HEIGHT + 16.5 }));
  return node;
}

// The button that opens the dialog for renaming; see renaming.js.
function renaming(tag) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  button.dataset.rename = tag;
  button.textContent = "✎"; // the word, in each row, would take the room of the chart
  button.title = t("rename.rename");
  button.ariaLabel = t("rename.rename-tag", { tag });
  return button;
}

function row(name, cells, kind) {
  const node = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = kind === "th" ? "col" : "row";
  head.textContent = name;
  node.append(head);
  for (const [text, label] of cells) {
    const cell = document.createElement(kind);
    if (kind === "th") cell.scope = "col";
    if (label) cell.ariaLabel = label;
    cell.textContent = text;
    node.append(cell);
  }
  return node;
}

// How many drawings there are of each of LABELS.
const complete = (grades = {}) => LABELS.map((label) => grades[label] ?? 0);
const sum = (totals) => totals.reduce((total, count) => total + count, 0);

// `counts`: the answer of /api/counts; `tag`: the tag to chart, or "" for all.
export function showCounts(element, { grades: all, tags, more_tags }, tag) {
  const focused = document.activeElement?.dataset.rename;
  const table = document.createElement("table");
  const head = table.createTHead();
  head.append(row(t("counts.tag"), [...LABELS.map((label) => [shown(label), spoken(label)]), [t("counts.all")]], "th"));
  const body = table.createTBody();
  const rows = [...tags].sort((a, b) => byName(a.tag, b.tag)).concat({ tag: t("counts.all"), grades: all });
  for (const { tag, grades } of rows) {
    const totals = complete(grades);
    const line = row(tag, [...totals, sum(totals)].map((n) => [number(n)]), "td");
    const isTotal = grades === all;
    if (!isTotal && !KEEP_THEIR_NAMES.includes(tag)) line.cells[0].append(" ", renaming(tag));
    body.append(line);
  }
  const frame = document.createElement("div");
  frame.className = "table";
  frame.tabIndex = 0;
  frame.role = "region";
  frame.ariaLabel = t("counts.title");
  frame.append(table);
  if (more_tags) {
    table.createCaption().textContent = t("counts.most-used", { shown: tags.length, n: more_tags });
  }
  const charted = tags.find((one) => one.tag === tag)?.grades ?? all;
  const title = charted === all ? t("counts.by-label") : t("counts.by-label-with-tag", { tag });
  const any = document.createElement("button");
  any.type = "button";
  any.dataset.rename = "";
  any.textContent = t("rename.title");
  element.replaceChildren(chart(complete(charted), title), frame, any);
  if (focused !== undefined) element.querySelector(`[data-rename="${CSS.escape(focused)}"]`)?.focus();
}
