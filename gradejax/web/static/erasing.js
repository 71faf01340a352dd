// Erasing by the teacher: counted first, asked for twice, and without Undo.

import { agrees } from "./asking.js";
import { AT_ONCE } from "./drawings.js";
import { fetchAll } from "./edits.js";
import { t } from "./language.js";
import { note } from "./note.js";
import { ask, reason } from "./server.js";

const idsOf = (all) => all.map(({ id }) => id);

// The ids of all drawings that match, and apart from them those of the excluded ones that would match otherwise.
async function allMatching(filters, progress) {
  const ids = idsOf(await fetchAll(filters.sortedQuery(), progress));
  const why = t("erase.why-match");
  if (filters.showsExcluded || filters.guess) return { ids, why };
  const query = filters.query();
  query.set("aside", "both"); // those in quarantine, too
  const inUse = new Set(ids);
  const excluded = idsOf(await fetchAll(query, (n) => progress(Math.max(n, ids.length)))).filter((id) => !inUse.has(id));
  if (!ids.length) return { ids: excluded, why: t("erase.why-excluded") };
  return { ids, excluded, why };
}

// Asks twice. Resolves to the ids to erase, or null.
async function askToErase({ ids, excluded = [], why }) {
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = true;
  const choice = document.createElement("label");
  choice.className = "choice";
  const others = excluded.length;
  choice.append(box, t("erase.also-excluded", { n: others }));
  const first = await agrees({
    title: t("erase.question", { n: ids.length }),
    lines: [why, t("erase.reach"), t("erase.beyond")],
    extra: others ? choice : null,
    yes: t("erase.begin"),
    no: t("erase.keep"),
  });
  const all = others && box.checked ? [...ids, ...excluded] : ids;
  if (!first) return null;
  const second = await agrees({
    title: t("erase.second-question", { n: all.length }),
    lines: [t("erase.no-undo")],
    typed: { number: all.length, label: t("erase.type", { number: all.length }) },
    yes: t("erase.for-good"),
    no: t("erase.keep"),
    isSecond: true,
  });
  return second ? all : null;
}

// Erases drawings in parts; `progress(done, total)` is called after each. Returns the line to show.
async function eraseForGood(ids, progress) {
  const beyond = new Set();
  let erased = 0;
  for (let from = 0; from < ids.length; from += AT_ONCE) {
    const answer = await ask("api/drawings/erase", { ids: ids.slice(from, from + AT_ONCE) });
    erased += answer.erased;
    for (const sentence of answer.unreachable) beyond.add(sentence);
    progress(Math.min(from + AT_ONCE, ids.length), ids.length);
  }
  return [t("erase.erased", { n: erased }), ...beyond].join(" ");
}

// Wires the two buttons. `page`: the `gallery` and its `filters`; `say(text, warn)`; `show()` fills the gallery anew;
// `change(make)` makes a change, one at a time, and says the line that it returns; `version()` is another number
// after the filters have changed.
export function offerErasing({ gallery, filters, say, show, change, version }) {
  const element = (id) => document.getElementById(id);

  async function erase(choose) {
    const current = version();
    try {
      const chosen = await choose();
      if (current !== version()) return;
      say(chosen.ids.length ? "" : t("erase.none-matches"));
      const ids = chosen.ids.length && (await askToErase(chosen));
      if (!ids) return;
      await change(async () => {
        try {
          return await eraseForGood(ids, (done, n) => note(t("erase.erased-so-far", { done, n })));
        } finally {
          await show(); // some of them may be gone even if it failed
        }
      });
      element("heading").focus();
    } catch (error) {
      say(reason(error), true);
    }
  }

  element("erase").addEventListener("click", () =>
    erase(() => ({ ids: [...gallery.selected], why: t("erase.why-selected") })),
  );
  element("erase-all").addEventListener("click", () =>
    erase(() => allMatching(filters, (done) => say(t("erase.counting", { done })))),
  );
}
