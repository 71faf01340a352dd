// What the gallery's page says of its drawings.

import { shown } from "./labels.js";
import { dated, t } from "./language.js";

const DAY = { year: "numeric", month: "numeric", day: "numeric" };

const element = (id) => document.getElementById(id);

// Says that `n` drawings match.
export function counted(n, filters) {
  if (filters.showsQuarantine) return t("browse.total-in-quarantine", { n });
  return filters.showsExcluded ? t("browse.total-excluded", { n }) : t("browse.total", { n });
}

// Why the gallery is empty.
export function nothing(filters) {
  const query = String(filters.query());
  if (query === "aside=quarantine") return t("browse.none-waits");
  return query || filters.guess ? t("browse.none-matches") : t("browse.none-yet");
}

// `page`: an answer without drawings, while the model is still checking them; null hides the progress.
export function showProgress(page, began) {
  element("progress").hidden = page === null;
  if (!page) return;
  element("judged").max = Math.max(1, page.total);
  element("judged").value = page.done;
  const seconds = (performance.now() - began) / 1000;
  const left = page.done && seconds > 2 ? Math.ceil((seconds * (page.total - page.done)) / page.done) : 0;
  element("judging").textContent = checking({ done: page.done, total: page.total }, left);
}

// `left`: seconds; 0 if it cannot be told yet.
function checking(counts, left) {
  if (left > 90) return t("browse.checking-minutes", { ...counts, minutes: Math.round(left / 60) });
  return left ? t("browse.checking-seconds", { ...counts, seconds: left }) : t("browse.checking", counts);
}

// Describes a selection of `n` drawings; `all`: how many match; `chosen`: the only one selected, if it is loaded.
export function described(chosen, n, all) {
  if (n > 1 && n === all) return t("browse.all-selected", { all });
  if (n > 1 || !chosen) return t("browse.selected", { n });
  const details = [chosen.tags.join(", "), dated(chosen.date, DAY), chosen.writer];
  if (chosen.earlier.length) details.push(t("browse.earlier-labels", { labels: chosen.earlier.map(shown).join(", ") }));
  return details.filter(Boolean).join(" · ");
}
