// The gallery: filter, select, relabel, put aside, restore, count, download.

import { showCounts } from "/static/counts.js";
import { byName, GRADES, shown, spoken } from "/static/drawings.js";
import { Gallery } from "/static/gallery.js";
import { note } from "/static/note.js";
import { ask, reason } from "/static/server.js";

const AT_ONCE = 120; // drawings a page
const MOST_CHANGED = 1000; // in one request
const POLL = 500; // milliseconds

const element = (id) => document.getElementById(id);
const form = element("filters");
const gallery = new Gallery(element("gallery"));
let next = null; // where the next page begins
let showing = 0; // rises with each change of the filters: answers to older questions are dropped

// The filters as the server's query: dates are days here, and moments there.
function query() {
  const made = new URLSearchParams();
  const { tag, label, writer, since, until, aside } = Object.fromEntries(new FormData(form));
  for (const [name, value] of Object.entries({ tag, label, writer: writer.trim(), aside })) {
    if (value) made.set(name, value);
  }
  const day = (text, more) => {
    const [year, month, date] = text.split("-").map(Number);
    return new Date(year, month - 1, date + more).toISOString();
  };
  if (since) made.set("since", day(since, 0));
  if (until) made.set("until", day(until, 1));
  return made;
}

async function page(after) {
  const asked = query();
  asked.set("by", form.elements.by.value);
  asked.set("limit", AT_ONCE);
  if (after) asked.set("after", after);
  return ask(`/api/drawings?${asked}`);
}

async function show() {
  const mine = ++showing;
  next = null;
  note("");
  element("download").href = `/api/export?${query()}`;
  if (element("counting").open) count();
  try {
    let shelf = await page();
    while (mine === showing && shelf.done !== null) {
      gallery.show([], 0);
      progress(shelf);
      await new Promise((resolve) => setTimeout(resolve, POLL));
      shelf = await page();
    }
    if (mine !== showing) return;
    progress(null);
    next = shelf.next;
    element("heading").textContent =
      `${shelf.total.toLocaleString()} ${shelf.total === 1 ? "drawing" : "drawings"}${form.elements.aside.value ? " put aside" : ""}`;
    gallery.show(shelf.drawings, shelf.total);
    if (!shelf.total) note(String(query()) ? "No drawing is like this: show all." : "Nothing here yet: draw something.");
  } catch (error) {
    if (mine !== showing) return;
    progress(null);
    element("heading").textContent = "Drawings";
    gallery.show([], 0);
    note(reason(error), true);
  }
}

function progress(shelf) {
  element("progress").hidden = shelf === null;
  if (!shelf) return;
  element("judged").max = Math.max(1, shelf.total);
  element("judged").value = shelf.done;
  element("judging").textContent =
    `The model looks at each drawing: ${shelf.done.toLocaleString()} of ${shelf.total.toLocaleString()}`;
}

async function more() {
  if (!next) return;
  const [mine, after] = [showing, next];
  next = null; // until the answer is there
  try {
    const shelf = await page(after);
    if (mine !== showing) return;
    next = shelf.next;
    gallery.append(shelf.drawings);
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

// Asks for `path` with the selected ids; how many drawings changed.
async function change(path, extra = {}) {
  const ids = [...gallery.selected];
  let changed = 0;
  for (let from = 0; from < ids.length; from += MOST_CHANGED) {
    const answer = await ask(path, { ids: ids.slice(from, from + MOST_CHANGED), ...extra });
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
      if (item.guess) item.guess = item.confidence = null; // it was about the label before
    }
    gallery.select([]);
    note(`${changed} relabelled ${shown(label)}.`);
  } catch (error) {
    note(reason(error), true);
  }
}

async function move(path, done) {
  try {
    const changed = await change(path);
    await show();
    note(`${changed} ${done}.`);
  } catch (error) {
    note(reason(error), true);
  }
}

function showSelection() {
  const chosen = gallery.items.filter(({ id }) => gallery.selected.has(id));
  // The bar must not take the keyboard's place with it when it goes.
  if (!chosen.length && element("selection").contains(document.activeElement)) {
    element("gallery").focus({ preventScroll: true });
  }
  element("selection").hidden = !chosen.length;
  document.documentElement.style.scrollPaddingBottom = "";
  if (!chosen.length) return;
  note("");
  const [one] = chosen;
  const described = [one.tags.join(", "), new Date(one.date).toLocaleDateString(), one.writer];
  if (one.earlier.length) described.push(`was ${one.earlier.map(shown).join(", ")}`);
  element("selected").textContent =
    chosen.length === 1 ? described.filter(Boolean).join(" · ") : `${chosen.length.toLocaleString()} selected`;
  element("hand").hidden = chosen.length !== 1 || !one.writer || form.elements.writer.value === one.writer;
  const aside = Boolean(form.elements.aside.value);
  element("aside").hidden = aside;
  element("restore").hidden = !aside;
  // What is scrolled into view is not behind the bar.
  document.documentElement.style.scrollPaddingBottom = `${element("selection").offsetHeight}px`;
}

for (const select of [form.elements.label, element("label")]) {
  for (const grade of GRADES) {
    const option = new Option(shown(grade), grade);
    option.ariaLabel = spoken(grade);
    select.append(option);
  }
}

gallery.addEventListener("select", showSelection);
gallery.addEventListener("more", more);
form.addEventListener("change", show);
form.addEventListener("reset", () => setTimeout(show)); // the fields are reset after the event
form.addEventListener("submit", (event) => event.preventDefault());
element("counting").addEventListener("toggle", () => element("counting").open && count());
element("relabel").addEventListener("click", relabel);
element("aside").addEventListener("click", () => move("/api/drawings/put-aside", "put aside"));
element("restore").addEventListener("click", () => move("/api/drawings/restore", "restored"));
element("none").addEventListener("click", () => gallery.select([]));
element("hand").addEventListener("click", () => {
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
