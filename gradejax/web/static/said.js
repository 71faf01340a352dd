// What the gallery's page says of its drawings.

import { number, shown } from "./drawings.js";

const element = (id) => document.getElementById(id);

// `page`: an answer without drawings, while the model is still checking them; null hides the progress.
export function showProgress(page, began) {
  element("progress").hidden = page === null;
  if (!page) return;
  element("judged").max = Math.max(1, page.total);
  element("judged").value = page.done;
  const seconds = (performance.now() - began) / 1000;
  const left = page.done && seconds > 2 ? Math.ceil((seconds * (page.total - page.done)) / page.done) : 0;
  const time = left > 90 ? `, about ${Math.round(left / 60)} minutes left` : left ? `, about ${left} s left` : "";
  element("judging").textContent =
    `The model is checking each drawing: ${number(page.done)} of ${number(page.total)}${time}`;
}

// Describes a selection of `n` drawings; `all`: how many match; `chosen`: the only one selected, if it is loaded.
export function described(chosen, n, all) {
  if (n > 1) return n === all ? `All ${number(n)} selected` : `${number(n)} selected`;
  if (!chosen) return "1 selected";
  const details = [chosen.tags.join(", "), new Date(chosen.date).toLocaleDateString("en"), chosen.writer];
  if (chosen.earlier.length) details.push(`was ${chosen.earlier.map(shown).join(", ")}`);
  return details.filter(Boolean).join(" · ");
}
