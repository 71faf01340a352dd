// The Models page: runs, which of them guesses, the test set, and trainings.

import { byName } from "./drawings.js";
import { note } from "./note.js";
import { accuracyText, showRun } from "./run.js";
import { ask, reason } from "./server.js";
import { TrainingPanel } from "./training.js";

const SHIPPED = "shipped";
const element = (id) => document.getElementById(id);
const panel = new TrainingPanel(ended);
let models = null; // the answer of /api/models

const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
const number = (n) => (n === null ? "–" : n.toLocaleString("en"));

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
  const known = test.trained_on ? `, trained on ${test.trained_on} more` : "";
  return [accuracyText(test.accuracy, test.interval), `${number(test.n)} drawing${test.n === 1 ? "" : "s"}${known}`];
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
    badge.textContent = "in use";
    return node.append(badge);
  }
  if (models.is_fixed) return undefined;
  const button = document.createElement("button");
  button.textContent = "Use this one";
  button.ariaLabel = `Use this one: ${run.name}`;
  button.addEventListener("click", () => use(run.name, button));
  return node.append(button);
}

function showRow(body, run) {
  const row = body.insertRow();
  row.append(nameOf(run));
  useCell(row, run);
  const whose = run.n_val === null ? "" : `${number(run.n_val)} drawings${run.split === "writer" ? "" : `, ${run.split} split`}`;
  cell(row, accuracyText(run.accuracy, run.interval), whose);
  cell(row, ...testText(run));
  cell(row, run.ece === null ? "–" : run.ece.toFixed(3));
  cell(row, number(run.n_train), run.n_mixed ? `and ${number(run.n_mixed)} synthetic` : "");
  cell(row, run.recipe ?? "–", run.tags);
  const date = run.date ? new Date(run.date) : null;
  cell(row, date ? date.toLocaleDateString("en-CA") : "–", date?.toLocaleTimeString("en-GB", { timeStyle: "short" }));
  cell(row, size(run.bytes), run.parameters ? `${number(run.parameters)} parameters` : "");
}

const COLUMNS = ["Run", "Guesses", "Unseen writers", "Test set", "ECE", "Trained on", "Recipe", "Finished", "Size"];

function show(answer) {
  models = answer;
  panel.offer(models.recipes);
  element("about").replaceChildren("In use: ", Object.assign(document.createElement("strong"), { textContent: models.about }));
  if (models.is_fixed) element("about").append(". The server was started with --workdir, which decides what guesses.");
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
  const shipped = models.runs.find(({ name }) => name === SHIPPED);
  element("runs-about").textContent =
    `Accuracy with its 95% interval for other writers. shipped is the recogniser that comes with gradejax. ${shipped.trained_on}`;
  showTest();
}

function showTest() {
  const { n_test, test_tag } = models;
  const there = n_test === 1 ? "is 1 drawing" : `are ${n_test ? number(n_test) : "no"} drawings`;
  element("test-about").textContent =
    `There ${there} tagged ${test_tag}. No training uses them, so they show how well a run reads what it never met.`;
  element("draw-test").href = `./?${new URLSearchParams({ tags: test_tag })}`;
  element("score").disabled = !n_test;
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
  note(`Loading ${name} …`);
  try {
    show(await ask("api/models/use", { name }));
    note(`${name} guesses from now on, for everybody.`);
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
      note(`Scoring ${name} …`);
      await ask("api/models/test", { name });
      show(await ask("api/models"));
      element("score").disabled = true;
    }
    note("All runs are scored on the test set.");
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
  if (outcome === "failed") return note(`The training of ${run} failed: ${why}`, true);
  if (outcome === "cancelled") return note("The training was cancelled.");
  history.pushState(null, "", `models?${new URLSearchParams({ run })}`);
  await openRun();
  return note(`${run} is trained.`);
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
