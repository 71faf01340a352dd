// My drawings: what was drawn on this device, and deleting it for good.

import { agrees } from "./asking.js";
import { AT_ONCE, forgetWriter, isOwn, writerKey } from "./drawings.js";
import { t } from "./language.js";
import { note } from "./note.js";
import { Own } from "./own.js";
import { NOT_KEPT, Queue } from "./queue.js";
import { ask, reason } from "./server.js";

const GONE = 404;

const element = (id) => document.getElementById(id);
const queue = new Queue();
const own = new Own(element("own"));
let saved = []; // those of the server that are loaded, newest first
let total = 0; // of them, loaded or not
let waiting = []; // those that this browser has yet to send
let isLoading = false;

function show() {
  const wait = new Set(waiting.map(({ id }) => id));
  const others = saved.filter(({ id }) => !wait.has(id));
  own.show([...waiting.map((drawing) => ({ ...drawing, isWaiting: true })), ...others]);
  const n = total - (saved.length - others.length) + waiting.length;
  const parts = [n && t("mine.count", { n }), waiting.length && t("mine.waiting", { n: waiting.length })];
  element("count").textContent = parts.filter(Boolean).join(" ");
  element("empty").hidden = n > 0 || isLoading || !element("more").hidden;
  element("all").hidden = !n;
  element("somebody-else").hidden = !writerKey();
}

// If the drawing `after` is gone, another page has deleted it: then it begins anew.
async function pageAfter(writer_key, after) {
  try {
    return await ask("api/mine", { writer_key, after });
  } catch (error) {
    if (after === null || error.status !== GONE) throw error;
    saved = [];
    return pageAfter(writer_key, null);
  }
}

// Loads the next page, or the first one. Throws if the server does not answer.
async function load() {
  const writer_key = writerKey();
  if (!writer_key) return; // nothing was drawn here
  isLoading = true;
  try {
    const page = await pageAfter(writer_key, saved.at(-1)?.id ?? null);
    if (writer_key !== writerKey()) return;
    const known = new Set(saved.map(({ id }) => id));
    saved.push(...page.drawings.filter(({ id }) => !known.has(id)));
    total = page.total ?? total;
    element("more").hidden = page.next === null;
    element("more").textContent = t("mine.more");
  } finally {
    isLoading = false;
  }
}

async function loadMore() {
  try {
    await load();
  } catch (error) {
    element("more").hidden = false;
    element("more").textContent = t("mine.try-again");
    note(reason(error), true);
  }
  show();
}

async function lookAtQueue() {
  waiting = (await queue.kept()).filter(isOwn).sort((a, b) => Date.parse(b.date) - Date.parse(a.date));
  show();
}

async function selectAll() {
  try {
    while (!element("more").hidden) {
      await load();
      show();
    }
    own.selectAll();
  } catch (error) {
    note(reason(error), true);
  }
}

const first = (n) => ({
  title: t("mine.delete-question", { n }),
  lines: [t("mine.nobody")],
  yes: t("mine.delete-yes", { n }),
  no: t("mine.delete-no", { n }),
});

const second = (n) => ({
  title: t("mine.sure"),
  lines: [t("mine.will-be-gone", { n })],
  yes: t("mine.sure-yes"),
  no: t("mine.sure-no", { n }),
  isSecond: true,
});

async function deleteSelected() {
  const ids = [...own.selected];
  if (!(await agrees(first(ids.length))) || !(await agrees(second(ids.length)))) return;
  element("delete").disabled = true;
  let done = 0;
  try {
    await queue.discard(ids); // first, so that none is sent any more
    for (; done < ids.length; done += AT_ONCE) {
      const part = ids.slice(done, done + AT_ONCE);
      if (writerKey()) await ask("api/mine/erase", { writer_key: writerKey(), ids: part });
      const gone = new Set(part);
      const before = saved.length;
      saved = saved.filter(({ id }) => !gone.has(id));
      total -= before - saved.length;
      if (ids.length > AT_ONCE) note(t("mine.deleting", { done: Math.min(done + AT_ONCE, ids.length), all: ids.length }));
    }
    own.select([]);
    await lookAtQueue();
    note(`${t("mine.deleted", { n: ids.length })} ${t("mine.beyond")}`);
    element("heading").focus();
    if (!saved.length && total) await loadMore();
  } catch (error) {
    await lookAtQueue();
    note(reason(error), true);
  } finally {
    element("delete").disabled = false;
  }
}

async function changeWriter() {
  const agreed = await agrees({
    title: t("mine.change-question"),
    lines: [t("mine.change-consequence"), t("mine.change-advice")],
    yes: t("mine.change-yes"),
    no: t("mine.change-no"),
  });
  if (!agreed) return;
  forgetWriter();
  [saved, total] = [[], 0];
  element("more").hidden = true;
  own.select([]);
  await lookAtQueue();
  note(t("mine.changed"));
  element("heading").focus();
}

function showSelection() {
  const n = own.selected.size;
  element("selection").hidden = !n;
  element("selected").textContent = t("mine.selected", { n });
  // Drawings scrolled into view must not end up behind the bar.
  document.documentElement.style.scrollPaddingBottom = n ? `${element("selection").offsetHeight}px` : "";
}

queue.addEventListener("saved", ({ detail }) => {
  if (!isOwn(detail)) return;
  saved.unshift({ ...detail, aside: false });
  total++;
});
queue.addEventListener("change", () => lookAtQueue());
queue.isKept.then((isKept) => isKept || note(NOT_KEPT));
own.addEventListener("select", showSelection);
element("all").addEventListener("click", selectAll);
element("more").addEventListener("click", loadMore);
element("delete").addEventListener("click", deleteSelected);
element("deselect").addEventListener("click", () => {
  own.select([]);
  element("heading").focus();
});
element("somebody-else").addEventListener("click", changeWriter);

await loadMore();
