// The Models page: runs, which of them guesses, the test set, and trainings.

import { downloads } from "./downloads.js";
import { byName } from "./drawings.js";
import { dated, decimal, number, t } from "./language.js";
import { note } from "./note.js";
import { accuracyText, showRun, splitName } from "./run.js";
import { ask, reason } from "./server.js";
import { TrainingPanel } from "./training.js";

const SHIPPED = "shipped";
const element = (id) => document.getElementById(id);
const panel = new TrainingPanel(ended);
let models = null; // the answer of /api/models

function size(bytes) {
  if (bytes < 1e6) return t("models.kilobytes", { n: Math.ceil(bytes / 1e3) });
  return t("models.megabytes", { n: decimal(bytes / 1e6, 1) });
}

function cell(row, text, quiet = "") {
  const node = row.insertCell();
  node.textContent = text;
  if (quiet) {
    const below = document.createElement("span");
    below.className = "quiet";
    below.textContent = quiet;
    node.append(below);
  }
  return node;
}

function testText({ test }) {
  if (!test) return ["–"];
  const { n, trained_on: known } = test;
  const drawings = known ? t("models.drawings-and-known", { n, known }) : t("models.drawings", { n });
  return [accuracyText(test.accuracy, test.interval), drawings];
}

function nameOf(run) {
  const head = document.createElement("th");
  head.scope = "row";
  const link = document.createElement(run.name === SHIPPED ? "span" : "a");
  link.textContent = run.name;
  if (run.name !== SHIPPED) {
    link.href = `models?${new URLSearchParams({ run: run.name })}`;
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      history.pushState(null, "", link.href);
      openRun(true);
    });
  }
  head.append(link);
  return head;
}

function useCell(row, run) {
  const node = row.insertCell();
  if (run.in_use) {
    const badge = document.createElement("span");
    badge.className = "badge";
    badge.textContent = t("models.in-use");
    return node.append(badge);
  }
  if (models.is_fixed) return undefined;
  const button = document.createElement("button");
  button.textContent = t("models.use");
  button.ariaLabel = t("models.use-run", { run: run.name });
  button.addEventListener("click", () => use(run.name, button));
  return node.append(button);
}

function validatedOn({ n_val: n, split }) {
  if (n === null) return "";
  return split === "writer" ? t("models.drawings", { n }) : t("models.drawings-split", { n, split: splitName(split) });
}

function showRow(body, run) {
  const row = body.insertRow();
  row.append(nameOf(run));
  useCell(row, run);
  cell(row, accuracyText(run.accuracy, run.interval), validatedOn(run));
  cell(row, ...testText(run));
  cell(row, run.ece === null ? "–" : decimal(run.ece, 3));
  const trained = run.n_train === null ? "–" : number(run.n_train);
  cell(row, trained, run.n_mixed ? t("models.and-synthetic", { n: run.n_mixed }) : "");
  cell(row, run.recipe ?? "–", run.tags);
  if (run.date) cell(row, dated(run.date, { dateStyle: "medium" }), dated(run.date, { timeStyle: "short" }));
  else cell(row, "–");
  cell(row, size(run.bytes), run.parameters ? t("models.parameters", { n: run.parameters }) : "");
  row.insertCell().append(downloads(run.name));
}

const COLUMNS = [
  t("models.run"), t("models.guesses"), t("models.unseen-writers"), t("models.test-set"), "ECE", t("models.trained-on"),
  t("models.recipe"), t("models.finished"), t("models.size"), t("download.title"),
];

function show(answer) {
  models = answer;
  panel.offer(models.recipes);
  const about = Object.assign(document.createElement("strong"), { textContent: models.about });
  element("about").replaceChildren(t("models.now-in-use"), " ", about);
  if (models.is_fixed) element("about").append(". ", t("models.fixed", { flag: "--workdir" }));
  element("why").textContent = models.note ?? "";
  element("why").hidden = !models.note;
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const name of COLUMNS) {
    const node = document.createElement("th");
    node.textContent = name;
    node.scope = "col";
    head.append(node);
  }
  const body = table.createTBody();
  for (const run of models.runs) showRow(body, run);
  element("runs").replaceChildren(table);
  element("runs-about").textContent = `${t("models.runs-about", { shipped: SHIPPED })} ${t("guess.trained-on")}`;
  showTest();
}

function showTest() {
  const { n_test: n, test_tag: tag } = models;
  const there = n ? t("models.tests", { n, tag }) : t("models.no-tests", { tag });
  element("test-about").textContent = `${there} ${t("models.test-about")}`;
  element("draw-test").href = `./?${new URLSearchParams({ tags: tag })}`;
  element("score").disabled = !n;
}

async function refresh() {
  try {
    show(await ask("api/models"));
  } catch (error) {
    note(reason(error), true);
  }
}

async function use(name, button) {
  button.disabled = true;
  note(t("models.loading", { run: name }));
  try {
    show(await ask("api/models/use", { name }));
    note(t("models.guesses-now", { run: name }));
    element("runs").focus();
  } catch (error) {
    button.disabled = false;
    note(reason(error), true);
  }
}

async function scoreAll() {
  element("score").disabled = true;
  try {
    for (const { name, test } of models.runs) {
      if (test) continue;
      note(t("models.scoring", { run: name }));
      await ask("api/models/test", { name });
      show(await ask("api/models"));
      element("score").disabled = true;
    }
    note(t("models.scored"));
  } catch (error) {
    note(reason(error), true);
  }
  element("score").disabled = false;
}

async function openRun(focus = false) {
  const name = new URLSearchParams(location.search).get("run");
  const section = element("detail");
  if (!name) {
    section.hidden = true;
    return;
  }
  try {
    const detail = await ask(`api/models/run?${new URLSearchParams({ name })}`);
    if (new URLSearchParams(location.search).get("run") !== name) return; // another one was opened since
    showRun(section, detail);
    if (focus) section.focus();
  } catch (error) {
    section.hidden = true;
    note(reason(error), true);
  }
}

async function ended({ ended: run, outcome, reason: why }) {
  await refresh();
  if (outcome === "failed") return note(t("training.failed", { run, reason: why }), true);
  if (outcome === "cancelled") return note(t("training.cancelled"));
  history.pushState(null, "", `models?${new URLSearchParams({ run })}`);
  await openRun();
  return note(t("training.finished", { run }));
}

addEventListener("popstate", () => openRun());
element("score").addEventListener("click", scoreAll);
refresh();
panel.look();
openRun();
ask("api/counts").then(
  ({ tags }) => element("known-tags").append(...tags.map(({ tag }) => tag).sort(byName).map((tag) => new Option(tag))),
  () => {}, // tags can be typed
);
