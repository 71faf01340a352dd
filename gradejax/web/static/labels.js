// How labels of drawings are shown, and spoken by screen readers.

import { t } from "./language.js";

// The label of a drawing that deliberately shows none.
export const NO_GRADE = "no grade";

export const shown = (label) => (label === NO_GRADE ? t("label.no-grade") : label.replaceAll("-", "−"));

// For screen readers, which read numbers and words themselves.
export function spoken(label) {
  if (label === NO_GRADE) return shown(label);
  const [letter, sign] = [label.slice(0, -1), label.at(-1)];
  if (sign === "+") return t("label.plus", { letter: spoken(letter) }).trim();
  if (sign === "-") return t("label.minus", { letter: spoken(letter) }).trim();
  return number(label);
}

function number(label) {
  if (label.startsWith("-")) return t("label.negative", { number: number(label.slice(1)) });
  const [, whole, half] = /^(\d*)(½?)$/.exec(label) ?? [];
  if (half) return whole ? t("label.and-half", { whole }) : t("label.half");
  const [, before, after] = /^(\d*)[.,](\d+)$/.exec(label) ?? [];
  if (after) return t("label.decimal", { whole: before, decimals: after }).trim();
  return label.replace(/^0(?=\d)/, "0 "); // readers leave such a 0 out
}

// Leaves room for the longest of `labels`, and no more, wherever one is shown large.
export function fit(labels) {
  document.documentElement.style.setProperty("--longest", Math.max(...labels.map(({ length }) => length)));
}
