// The gallery: filter, select, relabel, exclude, restore, count, download.

import { showCounts } from "./counts.js";
import { offerDownloads } from "./downloads.js";
import { byName } from "./drawings.js";
import { changedTo, Edits, fetchAll, guesses, listed, Unfinished } from "./edits.js";
import { offerErasing } from "./erasing.js";
import { Filters } from "./filters.js";
import { Gallery, guessed } from "./gallery.js";
import { shown, spoken } from "./labels.js";
import { t } from "./language.js";
import { follow } from "./news.js";
import { note } from "./note.js";
import { wireRenaming } from "./renaming.js";
import { counted, described, nothing, showProgress } from "./said.js";
import { LABELS } from "./scale.js";
import { offerScales } from "./scaling.js";
import { ask, reason } from "./server.js";
import { Viewer } from "./viewer.js";

const PAGE_SIZE = 120; // drawings
const POLL = 500; // milliseconds
const RETRY = 3000; // milliseconds
const AS_GUESSED = "";

const element = (id) => document.getElementById(id);
const form = element("filters");
const gallery = new Gallery(element("gallery"));
const viewer = new Viewer(gallery);
let known = new Map(); // id → {label, guess} of drawings that are selected and perhaps not loaded
let next = null; // the id after which the next page begins
let version = 0; // counts changes of the filters: answers to earlier requests are dropped
let isBusy = false; // while a change is on its way

for (const select of [form.elements.label, form.elements.guess, element("label")]) {
  for (const label of LABELS) {
    select.append(Object.assign(new Option(shown(label), label), { ariaLabel: spoken(label) }));
  }
}
const asGuessed = new Option(t("browse.as-guessed"), AS_GUESSED);
const filters = new Filters(form);
const edits = new Edits(gallery, filters, (done, total) => done < total && note(t("browse.changed-so-far", { done, total })));

function fetchPage(after) {
  const parameters = filters.sortedQuery();
  parameters.set("limit", PAGE_SIZE);
  if (after) parameters.set("after", after);
  return ask(`api/drawings?${parameters}`);
}

const totalOf = async (query) => (await ask(`api/drawings?${query}&limit=1`)).total;

async function show({ isRetry = false } = {}) {
  const current = ++version;
  next = null;
  known = new Map();
  edits.forget();
  if (!isRetry) say(""); // else the same error would be read out again and again
  announce(0);
  filters.keepInAddress();
  element("download").href = `api/export?${filters.query()}`;
  element("export-writer").hidden = !filters.writer;
  element("export-writer").href = `api/export?${new URLSearchParams({ writer: filters.writer, aside: "both" })}`;
  try {
    const began = performance.now();
    let [isUnknown, page] = await Promise.all([count(), fetchPage()]);
    if (current !== version) return;
    while (current === version && page.done !== null) {
      gallery.show([], 0);
      showProgress(page, began);
      await new Promise((resolve) => setTimeout(resolve, POLL));
      page = await fetchPage();
    }
    // The counts may be older than the page, of which other filters may show nothing.
    const isGone = isUnknown && !page.total && !(await totalOf(new URLSearchParams({ tag: filters.tag })));
    if (current !== version) return;
    showProgress(null);
    if (isGone) {
      goneTag = filters.tag;
      filters.leaveTag();
      return show();
    }
    next = page.next;
    gallery.show(page.drawings, page.total);
    showTotal();
    say(page.ranked_by ? t("browse.ranked-by", { by: page.ranked_by }) : "");
    offerDownloads(element("take"), page.ranked_by_model);
    if (!page.total) say(nothing(filters));
  } catch (error) {
    if (current !== version) return;
    showProgress(null);
    element("heading").textContent = t("browse.drawings");
    element("select-all").hidden = true;
    gallery.show([], 0);
    say(reason(error), true);
    const mayPass = !(error.isFinal || error.status === 401);
    if (mayPass) setTimeout(() => current === version && show({ isRetry: true }), RETRY);
  }
}

// The line above the gallery; only right after a change there is something to undo.
function say(text, warn = false) {
  note(goneTag && !warn ? `${t("browse.tag-gone", { tag: goneTag })} ${text}` : text, warn);
  element("undo").hidden = !edits.canUndo;
}

// `total`: of all that match now; some may have come since the gallery was filled.
function showTotal(total = gallery.total) {
  element("heading").textContent = counted(total, filters);
  element("select-all").hidden = !gallery.items.length;
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
    say(`${reason(error)} ${t("browse.scroll-again")}`, true);
  }
}

let goneTag = null; // the tag that was filtered by until it was gone

// Counts, and offers the tags that there are. Returns whether the counts do not know the tag that is filtered by.
async function count() {
  const counts = await ask("api/counts");
  const tags = counts.tags.map(({ tag }) => tag).sort(byName);
  filters.offerTags(tags);
  showWaiting(counts.waiting);
  offerScales(counts);
  if (element("counting").open) showCounts(element("counts"), counts, filters.tag);
  return filters.tag && !filters.showsExcluded && !counts.more_tags && !tags.includes(filters.tag);
}

// Says how many drawings are in quarantine, unless they are what is shown.
function showWaiting(n) {
  element("waiting").hidden = !n || filters.showsQuarantine;
  element("waiting-text").textContent = t("browse.waiting", { n });
}

// Says how many drawings have come since the gallery was filled, and leaves it as it is.
function announce(n) {
  element("show-news").hidden = n <= 0;
  element("news").textContent = n > 0 ? t("browse.news", { n }) : "";
}

async function lookAgain() {
  const current = version;
  if (isBusy || !element("progress").hidden) return;
  try {
    const [, total] = await Promise.all([count(), totalOf(filters.query())]);
    // What the model takes the new ones for is known when they are judged.
    if (current !== version || isBusy || filters.guess) return;
    showTotal(total);
    announce(total - gallery.total);
  } catch {
    // The next event comes soon; what the visitor does says so if the server is away.
  }
}

// Runs a change, one at a time; it returns the line to show. The focus stays in the gallery.
async function change(make) {
  if (isBusy) return;
  isBusy = true;
  const hadFocus = element("selection").contains(document.activeElement) || document.activeElement === element("undo");
  element("undo").hidden = true;
  try {
    const text = await make();
    gallery.select([]);
    showTotal();
    say(text);
    if (hadFocus) (gallery.items.length ? gallery : element("heading")).focus();
  } catch (error) {
    showTotal();
    say(error instanceof Unfinished ? error.message : reason(error), true);
  } finally {
    isBusy = false;
  }
  count().catch(() => {}); // the change was made; its error, if any, is shown
}

const knownNow = () => new Map([...known, ...listed(gallery.items)]);

function relabel() {
  const label = element("label").value;
  if (label === AS_GUESSED) return accept();
  const labels = new Map([...gallery.selected].map((id) => [id, label]));
  return change(async () => changedTo(await edits.relabel(knownNow(), labels), label, filters.showsQuarantine));
}

function accept() {
  const labels = guesses(knownNow(), gallery.selected);
  return change(async () => changedTo(await edits.relabel(knownNow(), labels), null, filters.showsQuarantine));
}

// `said`: number of drawings → the line that says what was done.
const move = (path, said) => change(async () => said(await edits.move(path, [...gallery.selected])));
const exclude = () => move("put-aside", (n) => t("browse.excluded", { n }));
const restore = () => {
  const waited = filters.showsQuarantine;
  return move("restore", (n) => (waited ? t("browse.accepted", { n }) : t("browse.restored", { n })));
};

async function selectAll() {
  const current = version;
  try {
    const all =
      gallery.items.length === gallery.total
        ? [...listed(gallery.items)].map(([id, item]) => ({ id, ...item }))
        : await fetchAll(filters.sortedQuery(), (done) => say(t("browse.selecting", { done, total: gallery.total })));
    if (current !== version) return;
    known = new Map(all.map((item) => [item.id, item]));
    gallery.select(known.keys());
  } catch (error) {
    if (current === version) say(reason(error), true);
  }
}

function showSelection() {
  const n = gallery.selected.size;
  // The focus must not vanish with the bar.
  if (!n && element("selection").contains(document.activeElement)) gallery.focus();
  const wasHidden = element("selection").hidden;
  element("selection").hidden = !n;
  document.documentElement.style.scrollPaddingBottom = "";
  if (!n) return;
  if (!isBusy) {
    edits.forget();
    goneTag = null;
    say("");
  }
  const one = n === 1 ? gallery.items.find(({ id }) => gallery.selected.has(id)) : null;
  element("selected").textContent = described(one, gallery.selected.size, Math.max(gallery.total, known.size));
  element("open").hidden = !one;
  element("only-writer").hidden = !one?.writer || filters.writer === one.writer;
  const waits = filters.showsQuarantine;
  element("exclude").hidden = filters.showsExcluded && !waits;
  element("restore").hidden = !filters.showsExcluded;
  element("restore").textContent = waits ? t("browse.accept") : t("browse.restore");
  element("relabel").textContent = waits ? t("browse.accept-as") : t("browse.relabel");
  for (const [name, isMain] of [["restore", waits], ["relabel", !waits]]) element(name).classList.toggle("main", isMain);
  element("accept").hidden = !filters.isRanked;
  if (filters.isRanked) {
    const guess = one && guessed(one);
    const named = (label) => (guess ? t("browse.as-guessed-one", { label: label(guess) }) : t("browse.as-guessed"));
    asGuessed.text = named(shown);
    asGuessed.ariaLabel = named(spoken);
    element("label").prepend(asGuessed);
    if (wasHidden) element("label").value = AS_GUESSED;
  } else asGuessed.remove();
  // Drawings scrolled into view must not end up behind the bar.
  document.documentElement.style.scrollPaddingBottom = `${element("selection").offsetHeight}px`;
}

gallery.addEventListener("select", showSelection);
gallery.addEventListener("more", showMore);
gallery.addEventListener("all", selectAll);
gallery.addEventListener("open", () => viewer.open());
form.addEventListener("change", (event) => {
  goneTag = null;
  filters.changed(event);
  show();
});
form.addEventListener("reset", () => setTimeout(() => show())); // the fields are reset after the event
form.addEventListener("submit", (event) => event.preventDefault());
element("counting").addEventListener("toggle", () => {
  if (element("counting").open) count().catch((error) => say(reason(error), true));
});
element("relabel").addEventListener("click", relabel);
element("accept").addEventListener("click", accept);
element("exclude").addEventListener("click", exclude);
element("restore").addEventListener("click", restore);
element("undo").addEventListener("click", () => change(async () => t("browse.as-before", { n: await edits.undo() })));
offerErasing({ gallery, filters, say, show, change, version: () => version });
element("select-all").addEventListener("click", selectAll);
element("deselect").addEventListener("click", () => gallery.select([]));
element("open").addEventListener("click", () => {
  gallery.go(gallery.items.findIndex(({ id }) => gallery.selected.has(id)));
  viewer.open();
});
element("only-writer").addEventListener("click", () => {
  filters.writer = gallery.items.find(({ id }) => gallery.selected.has(id)).writer;
  show();
});
element("look").addEventListener("click", () => {
  filters.showQuarantine();
  show();
});
element("show-news").addEventListener("click", () => show());
wireRenaming(element("counts"), { filters, edits, change, show, say });
element("filtering").open = innerWidth >= 736;

show();
follow(lookAgain);
