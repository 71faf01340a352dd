// Plots as SVG: curves of a training, a confusion matrix, a reliability diagram. Each says in its title what it shows.

import { shown, spoken } from "./labels.js";
import { decimal, number, percent, t } from "./language.js";

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// Numbers at round distances from `low` to `high`, about `wanted` of them.
function ticks(low, high, wanted, least = 0) {
  const rough = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(least, power * [1, 2, 5, 10].find((factor) => factor * power >= rough));
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9; i++) found.push(i * step);
  return found;
}

// 0.01, 0.02, 0.05, 0.1, …
function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const factor of [1, 2, 5]) found.push(factor * 10 ** power);
  }
  const inside = found.filter((tick) => tick >= low && tick <= high);
  return inside.length > 6 ? inside.filter((tick) => /^0?\.?0*1/.test(String(Number(tick.toPrecision(1))))) : inside;
}

const digits = (tick) => Math.max(0, Math.ceil(-Math.log10(tick) - 1e-9));

const [LONG, LINE] = [42, 19]; // characters of a title that fit in one line; its height

// An empty plot below its title, which ends at the height `y`, and has a line of its own for the data if it is long.
function titled(title, [x, y], [width, height], attributes) {
  const cut = title.length > LONG ? title.lastIndexOf(", ") + 1 : 0;
  const lines = cut ? [title.slice(0, cut), title.slice(cut + 1)] : [title];
  const above = LINE * (lines.length - 1);
  const node = svg("svg", { viewBox: `0 ${-above} ${width} ${height + above}`, ...attributes });
  lines.forEach((line, i) => node.append(svg("text", { class: "name", x, y: y - above + LINE * i }, line)));
  return node;
}

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [460, 280, 54, 14, 34, 44];

// A frame with ticks. `x` and `y`: { low, high, ticks, text, log, title }; returns the SVG and both scales.
function frame(title, x, y, [width, height] = [WIDTH, HEIGHT]) {
  const [right, bottom] = [width - RIGHT, height - BOTTOM];
  const place = ({ low, high, log }, from, to) => {
    const at = log ? Math.log10 : (value) => value;
    return (value) => from + ((at(value) - at(low)) / (at(high) - at(low) || 1)) * (to - from);
  };
  const [toX, toY] = [place(x, LEFT, right), place(y, bottom, TOP)];
  const node = titled(title, [LEFT, 22], [width, height], { class: "plot", role: "img" });
  node.prepend(svg("title", {}, title));
  for (const tick of y.ticks) {
    const at = toY(tick);
    node.append(svg("line", { class: "grid", x1: LEFT, x2: right, y1: at, y2: at }));
    node.append(svg("text", { class: "y", x: LEFT - 7, y: at + 4.5 }, y.text(tick)));
  }
  for (const tick of x.ticks) {
    const at = toX(tick);
    node.append(svg("line", { class: "frame", x1: at, x2: at, y1: bottom, y2: bottom + 4 }));
    node.append(svg("text", { class: "x", x: at, y: bottom + 18 }, x.text(tick)));
  }
  node.append(svg("rect", { class: "frame", x: LEFT, y: TOP, width: right - LEFT, height: bottom - TOP }));
  node.append(svg("text", { class: "x", x: (LEFT + right) / 2, y: height - 6 }, x.title));
  return { node, toX, toY, bottom };
}

function lineChart(title, series, epochs, y) {
  const high = Math.max(2, epochs);
  const x = { low: 1, high, ticks: ticks(1, high, 6, 1), text: number, title: t("plot.epoch") };
  const { node, toX, toY } = frame(title, x, y);
  for (const [kind, values] of series) {
    const points = values.map((value, i) => `${toX(i + 1).toFixed(1)},${toY(Math.min(Math.max(value, y.low), y.high)).toFixed(1)}`);
    if (points.length === 1) {
      const [cx, cy] = points[0].split(",");
      node.append(svg("circle", { class: kind, cx, cy, r: 4 }));
    } else node.append(svg("polyline", { class: kind, points: points.join(" ") }));
  }
  return node;
}

function key(kind, text) {
  const node = document.createElement("span");
  const line = svg("svg", { viewBox: "0 0 30 10", class: "plot key", "aria-hidden": "true" });
  line.append(svg("polyline", { class: kind, points: "0,5 30,5" }));
  node.append(line, text);
  return node;
}

// The figure with a caption of texts and nodes.
function figure(caption, ...nodes) {
  const node = document.createElement("figure");
  const below = document.createElement("figcaption");
  below.append(...caption);
  const plots = document.createElement("div");
  plots.className = "plots";
  plots.append(...nodes);
  node.append(plots, below);
  return node;
}

// `history`: epochs so far, at least one; `epochs`: how many there will be; `name`: of the run and its data.
export function curves(history, epochs, name) {
  const of = (field) => history.map((epoch) => epoch[field]);
  const series = (field) => [["training", of(field)], ["validation", of(`val_${field}`)]];
  const range = (field) => [...of(field), ...of(`val_${field}`)].filter(Number.isFinite);
  const losses = range("loss").map((loss) => Math.max(loss, 1e-4));
  const [lowest, highest] = [Math.min(...losses) / 1.1, Math.max(...losses) * 1.1];
  const loss = {
    low: lowest, high: highest, log: true, ticks: logTicks(lowest, highest), text: (tick) => decimal(tick, digits(tick)),
  };
  const low = Math.max(0, Math.min(...range("accuracy")) - 0.02);
  const accuracy = { low, high: 1, ticks: ticks(low, 1, 5), text: (tick) => percent(tick, (1 - low) < 0.05 ? 1 : 0) };
  const last = history.at(-1);
  return figure(
    [
      key("training", t("plot.training")), " ", key("validation", t("plot.validation")), " ",
      last.loss > last.val_loss ? t("plot.why-training-loss-is-higher") : "",
    ],
    lineChart(t("plot.loss", { name }), series("loss"), epochs, loss),
    lineChart(t("plot.accuracy", { name }), series("accuracy"), epochs, accuracy),
  );
}

const [CELL, MARGIN] = [30, 52];

// `groups`: where lines part the labels; `link(label, guess)`: where the cell leads.
export function confusion({ labels, groups, confusion: counts }, name, link) {
  const size = MARGIN + CELL * labels.length;
  const total = counts.flat().reduce((sum, n) => sum + n, 0);
  const right = counts.reduce((sum, row, i) => sum + row[i], 0);
  const title = t("plot.confusion", { right, total, name });
  const attributes = { class: "plot confusion", role: "group", "aria-label": title };
  const node = titled(title, [0, 18], [size + 6, size + 22], attributes);
  const at = (i) => MARGIN + i * CELL;
  const matrix = svg("g", { transform: "translate(0 30)" });
  matrix.append(svg("text", { class: "x", x: MARGIN + (CELL * labels.length) / 2, y: size - 14 }, t("plot.read-as")));
  matrix.append(svg("text", { class: "x", transform: `translate(14 ${(CELL * labels.length) / 2}) rotate(-90)` }, t("plot.label")));
  labels.forEach((label, i) => {
    matrix.append(svg("text", { class: "y", x: MARGIN - 6, y: i * CELL + 20 }, shown(label)));
    matrix.append(svg("text", { class: "x", x: at(i) + CELL / 2, y: size - MARGIN + 18 }, shown(label)));
  });
  counts.forEach((row, i) => {
    const most = Math.max(1, row.reduce((sum, n) => sum + n, 0));
    row.forEach((n, j) => {
      if (!n) return;
      const cell = svg("a", { href: link(labels[i], labels[j]), class: i === j ? "right" : "wrong" });
      cell.setAttribute("aria-label", t("plot.cell", { label: spoken(labels[i]), guess: spoken(labels[j]), n }));
      const rect = svg("rect", { x: at(j) + 1, y: i * CELL + 1, width: CELL - 2, height: CELL - 2 });
      if (i === j) rect.setAttribute("fill-opacity", (0.15 + (0.85 * n) / most).toFixed(2));
      const isDark = i === j && n / most > 0.5;
      cell.append(rect, svg("text", { class: isDark ? "x on" : "x", x: at(j) + CELL / 2, y: i * CELL + 20 }, number(n)));
      matrix.append(cell);
    });
  });
  matrix.append(svg("rect", { class: "frame", x: MARGIN, y: 0, width: CELL * labels.length, height: CELL * labels.length }));
  for (const i of groups) {
    matrix.append(svg("line", { class: "grid", x1: at(i), x2: at(i), y1: 0, y2: CELL * labels.length }));
    matrix.append(svg("line", { class: "grid", x1: MARGIN, x2: size, y1: i * CELL, y2: i * CELL }));
  }
  node.append(matrix);
  const wide = document.createElement("div");
  wide.className = "wide";
  wide.append(node);
  return figure([t("plot.cell-opens-gallery")], wide);
}

// `bins`: see the API; empty ones are left out.
export function reliability(bins, ece, name) {
  const most = Math.max(...bins.map(({ n }) => n));
  const axis = { low: 0, high: 1, ticks: [0, 0.2, 0.4, 0.6, 0.8, 1], text: (tick) => percent(tick) };
  const x = { ...axis, title: t("plot.confidence") };
  const { node, toX, toY, bottom } = frame(t("plot.reliability", { name }), x, axis, [460, 430]);
  node.append(svg("line", { class: "ideal", x1: toX(0), x2: toX(1), y1: toY(0), y2: toY(1) }));
  for (const { n, confidence, accuracy, interval } of bins) {
    const x = toX(confidence);
    const bin = svg("g", { class: "bin" });
    const shares = { confidence: percent(confidence, 1), accuracy: percent(accuracy, 1) };
    bin.append(svg("title", {}, t("plot.bin", { n, ...shares })));
    bin.append(svg("line", { x1: x, x2: x, y1: toY(interval[0]), y2: toY(interval[1]) }));
    const [place, dx, dy] = x > toX(0.97) ? ["y", -8, -26] : ["n", 8, -8]; // not on top of its neighbour's
    bin.append(svg("text", { class: place, x: x + dx, y: bottom + dy }, number(n)));
    bin.append(svg("circle", { cx: x, cy: toY(accuracy), r: 4 + 6 * Math.sqrt(n / most) }));
    node.append(bin);
  }
  const calibration = ece === null ? t("plot.ece-unknown") : t("plot.ece", { ece: decimal(ece, 3) });
  return figure([t("plot.reliability-about"), " ", calibration], node);
}
