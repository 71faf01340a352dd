// The labels of drawings: how they are called, shown, and spoken by screen readers.

import { t } from "./language.js";

export const GRADES = ["A", "B", "C", "D", "E"].flatMap((letter) => [`${letter}+`, letter, `${letter}-`]);

// The label of a drawing that deliberately shows none.
export const NO_GRADE = "no grade";
export const LABELS = [...GRADES, NO_GRADE];

export const shown = (label) => (label === NO_GRADE ? t("label.no-grade") : label.replace("-", "−"));

// For screen readers.
export function spoken(label) {
  const [letter, sign] = label;
  if (label === NO_GRADE || !sign) return shown(label);
  return sign === "+" ? t("label.plus", { letter }) : t("label.minus", { letter });
}
