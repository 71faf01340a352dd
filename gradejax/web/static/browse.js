// The gallery: filter, select, relabel, exclude, restore, count, download.

import { showCounts } from "/static/counts.js";
import { byName, LABELS, shown, spoken } from "/static/drawings.js";
import { Gallery } from "/static/gallery.js";
import { note } from "/static/note.js";
import { ask, reason } from "/static/server.js";

const PAGE_SIZE = 120; // drawings
const MAX_CHANGED = 1000; // in one request
const POLL = 500; // milliseconds

const element = (id) => document.getElementById(id);
const form = element("filters");
const gallery = new Gallery(element("gallery"));
let next = null; // the id after which the next page begins
let version = 0; // counts changes of the filters: answers to earlier requests are dropped

// The filters as the server's query. The form has days in local time; the server expects times in UTC.
function query() {
  const parameters = new URLSearchParams();
  const { tag, label, writer, since, until, aside } = Object.fromEntries(new FormData(form));
  for (const [name, value] of Object.entries({ tag, label, writer: writer.trim(), aside })) {
    if (value) parameters.set(name, value);
  }
  const startOfDay = (text, daysLater) => {
    const [year, month, day] = text.split("-").map(Number);
    return new Date(year, month - 1, day + daysLater).toISOString();
  };
  if (since) parameters.set("since", startOfDay(since, 0));
  if (until) parameters.set("until", startOfDay(until, 1));
  return parameters;
}

async function fetchPage(after) {
  const parameters = query();
  parameters.set("by", form.elements.by.value);
  parameters.set("limit", PAGE_SIZE);
  if (after) parameters.set("after", after);
  return ask(`/api/drawings?${parameters}`);
}

async function show() {
  const current = ++version;
  next = null;
  note("");
  element("download").href = `/api/export?${query()}`;
  if (element("counting").open) count();
  try {
    let page = await fetchPage();
    while (current === version && page.done !== null) {
      gallery.show([], 0);
      showProgress(page);
      await new Promise((resolve) => setTimeout(resolve, POLL));
      page = await fetchPage();
    }
    if (current !== version) return;
    showProgress(null);
    next = page.next;
    const kind = form.elements.aside.value ? "excluded drawing" : "drawing";
    element("heading").textContent = `${page.total.toLocaleString()} ${kind}${page.total === 1 ? "" : "s"}`;
    gallery.show(page.drawings, page.total);
    if (page.ranked_by) note(`Ranked by ${page.ranked_by}.`);
    if (!page.total) note(String(query()) ? "No drawings match: clear the filters." : "No drawings yet: draw some.");
  } catch (error) {
    if (current !== version) return;
    showProgress(null);
    element("heading").textContent = "Drawings";
    gallery.show([], 0);
    note(reason(error), true);
  }
}

// `page`: an answer without drawings, while the model is still checking them; null hides the progress.
function showProgress(page) {
  element("progress").hidden = page === null;
  if (!page) return;
  element("judged").max = Math.max(1, page.total);
  element("judged").value = page.done;
  element("judging").textContent =
    `The model is checking each drawing: ${page.done.toLocaleString()} of ${page.total.toLocaleString()}`;
}

async function showMore() {
  if (!next) return;
  const [current, after] = [version, next];
  next = null; // until the answer arrives
  try {
    const page = await fetchPage(after);
    if (current !== version) return;
    next = page.next;
    gallery.append(page.drawings);
  } catch (error) {
    next = after;
    note(`${reason(error)} Scroll to try again.`, true);
  }
}

async function count() {
  try {
    showCounts(element("counts"), await ask("/api/counts"), form.elements.tag.value);
  } catch (error) {
    note(reason(error), true);
  }
}

// Posts the selected ids to `path`; returns how many drawings changed, in words.
async function change(path, extra = {}) {
  const ids = [...gallery.selected];
  let changed = 0;
  for (let from = 0; from < ids.length; from += MAX_CHANGED) {
    const answer = await ask(path, { ids: ids.slice(from, from + MAX_CHANGED), ...extra });
    changed += answer.changed;
  }
  if (element("counting").open) count();
  return changed === 1 ? "1 drawing" : `${changed.toLocaleString()} drawings`;
}

async function relabel() {
  const label = element("label").value;
  try {
    const changed = await change("/api/drawings/relabel", { label });
    for (const item of gallery.items) {
      if (!gallery.selected.has(item.id) || item.label === label) continue;
      item.earlier = [...item.earlier, item.label];
      item.label = label;
      if (item.guess) item.guess = item.confidence = null; // they were about the earlier label
    }
    gallery.select([]);
    note(`${changed} relabelled as ${shown(label)}.`);
  } catch (error) {
    note(reason(error), true);
  }
}

// Excludes or restores the selected drawings, which then leave the gallery.
async function move(path, participle) {
  try {
    const changed = await change(path);
    await show();
    note(`${changed} ${participle}.`);
  } catch (error) {
    note(reason(error), true);
  }
}

function showSelection() {
  const chosen = gallery.items.filter(({ id }) => gallery.selected.has(id));
  // The focus must not vanish with the bar.
  if (!chosen.length && element("selection").contains(document.activeElement)) {
    element("gallery").focus({ preventScroll: true });
  }
  element("selection").hidden = !chosen.length;
  document.documentElement.style.scrollPaddingBottom = "";
  if (!chosen.length) return;
  note("");
  const [first] = chosen;
  const details = [first.tags.join(", "), new Date(first.date).toLocaleDateString(), first.writer];
  if (first.earlier.length) details.push(`was ${first.earlier.map(shown).join(", ")}`);
  element("selected").textContent =
    chosen.length === 1 ? details.filter(Boolean).join(" · ") : `${chosen.length.toLocaleString()} selected`;
  element("only-writer").hidden =
    chosen.length !== 1 || !first.writer || form.elements.writer.value === first.writer;
  const showsExcluded = Boolean(form.elements.aside.value);
  element("exclude").hidden = showsExcluded;
  element("restore").hidden = !showsExcluded;
  // Drawings scrolled into view must not end up behind the bar.
  document.documentElement.style.scrollPaddingBottom = `${element("selection").offsetHeight}px`;
}

for (const select of [form.elements.label, element("label")]) {
  for (const label of LABELS) {
    const option = new Option(shown(label), label);
    option.ariaLabel = spoken(label);
    select.append(option);
  }
}

gallery.addEventListener("select", showSelection);
gallery.addEventListener("more", showMore);
form.addEventListener("change", show);
form.addEventListener("reset", () => setTimeout(show)); // the fields are reset after the event
form.addEventListener("submit", (event) => event.preventDefault());
element("counting").addEventListener("toggle", () => element("counting").open && count());
element("relabel").addEventListener("click", relabel);
element("exclude").addEventListener("click", () => move("/api/drawings/put-aside", "excluded"));
element("restore").addEventListener("click", () => move("/api/drawings/restore", "restored"));
element("deselect").addEventListener("click", () => gallery.select([]));
element("only-writer").addEventListener("click", () => {
  const [id] = gallery.selected;
  form.elements.writer.value = gallery.items.find((item) => item.id === id).writer;
  show();
});
element("filtering").open = innerWidth >= 736;

show();
ask("/api/counts").then(
  ({ tags }) => {
    const names = tags.map(({ tag }) => tag).sort(byName);
    form.elements.tag.append(...names.map((name) => new Option(name, name)));
  },
  (error) => note(reason(error), true),
);
