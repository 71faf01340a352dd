// For the projector: how to join, how many drawings of each grade there are, and the newest ones as they come.

import { NO_GRADE, shown, spoken } from "./labels.js";
import { number, t } from "./language.js";
import { Live } from "./live.js";
import { Newest } from "./newest.js";
import { note } from "./note.js";
import "./offering.js";
import { arrange, GRADES } from "./scale.js";
import { ask, reason } from "./server.js";
import { keep, kept } from "./storage.js";

const DEFAULT_GOAL = 10;
const MAX_GOAL = 9999;

const element = (id) => document.getElementById(id);
const newest = new Newest(element("newest"));
const live = new Live();
let latest = null; // the counts
let wasAnnounced = true; // whether what they have changed by since was drawn here
let goal = goalFrom(new URLSearchParams(location.search).get("goal") ?? kept("goal")) ?? DEFAULT_GOAL;

function goalFrom(text) {
  const n = Number(text);
  return Number.isInteger(n) && n >= 1 && n <= MAX_GOAL ? n : null;
}

async function invite() {
  const { address, code, is_reachable } = await ask("api/invitation");
  const plain = address.replace(/^http:\/\//, "").replace(/\/$/, "");
  element("address").textContent = plain;
  element("why-alone").textContent = t("class.alone", { address: plain });
  element("code").textContent = code ?? "";
  element("code").style.setProperty("--characters", code?.length ?? 1);
  element("code").parentElement.hidden = code === null;
  if (is_reachable) element("qr").src = "api/invitation.svg";
  element("way").hidden = !is_reachable;
  element("alone").hidden = is_reachable;
  element("heading").textContent = is_reachable ? t("class.join") : t("class.only-here");
}

// One line for each grade: its name, how many there are, and a bar towards the goal.
function row(grade) {
  const node = document.createElement("li");
  const name = document.createElement("strong");
  name.textContent = shown(grade);
  name.ariaHidden = "true";
  const count = document.createElement("span");
  count.className = "count";
  count.ariaHidden = "true";
  const track = document.createElement("span");
  track.className = "track";
  track.append(document.createElement("span"));
  const audible = document.createElement("span");
  audible.className = "spoken";
  node.append(name, count, track, audible);
  return node;
}

const rows = new Map(GRADES.map((grade) => [grade, row(grade)]));
arrange(element("goals"));
element("goals").append(...rows.values());

// What the figures count.
function nameFigures(drawings, devices) {
  element("drawings").textContent = t("class.drawings", { n: drawings });
  element("drawing").textContent = t("class.devices", { n: devices });
}

function showCounts() {
  if (!latest) return;
  for (const [grade, node] of rows) {
    const n = latest.grades[grade] ?? 0;
    node.classList.toggle("reached", n >= goal);
    node.querySelector(".count").textContent = number(n);
    node.querySelector(".track > span").style.width = `${Math.min(100, (100 * n) / goal)}%`;
    node.querySelector(".spoken").textContent = t("class.grade-of-goal", { grade: spoken(grade), n, goal });
  }
  element("total").textContent = number(latest.total);
  element("devices").textContent = number(latest.devices);
  nameFigures(latest.total, latest.devices);
  const others = latest.grades[NO_GRADE] ?? 0;
  element("others").textContent = others ? t("class.no-grade", { n: others }) : "";
  element("waiting").hidden = !latest.waiting;
  element("waiting").firstElementChild.textContent = t("class.waiting", { n: latest.waiting });
  const paused = latest.paused ? t("class.paused") : "";
  if (element("paused").textContent !== paused) element("paused").textContent = paused;
  element("pause").textContent = latest.paused ? t("class.resume") : t("class.pause");
  element("pause").classList.toggle("main", latest.paused);
  element("pause").disabled = false;
}

// Until then, drawings may have come and gone unseen.
live.addEventListener("open", () => newest.refresh().catch(complain));
live.addEventListener("counts", ({ detail }) => {
  if (!wasAnnounced && detail.total > latest.total) newest.refresh().catch(complain); // they were imported
  wasAnnounced = false;
  latest = detail;
  showCounts();
  note("");
});
live.addEventListener("saved", ({ detail }) => {
  wasAnnounced = true;
  newest.add(detail);
});
live.addEventListener("edited", () => newest.refresh().catch(complain));
live.addEventListener("lost", () => {
  // An EventSource does not say why; another request does, unless it succeeds because all is well again.
  ask("api/invitation").catch(complain);
});

function complain(error) {
  note(reason(error), true);
}

element("pause").addEventListener("click", async () => {
  element("pause").disabled = true;
  try {
    const { paused } = await ask("api/collection", { paused: !latest.paused });
    latest = { ...latest, paused };
  } catch (error) {
    complain(error);
  }
  showCounts();
  element("pause").focus();
});

element("goal").value = goal;
element("goal").addEventListener("input", ({ target }) => {
  const chosen = goalFrom(target.value);
  if (chosen === null) return;
  goal = chosen;
  keep("goal", goal);
  const address = new URL(location.href);
  address.searchParams.set("goal", goal);
  history.replaceState(null, "", address);
  showCounts();
});
element("goal").addEventListener("change", ({ target }) => (target.value = goal));
element("steering").addEventListener("submit", (event) => event.preventDefault());

nameFigures(0, 0);
invite().catch(complain);
