// The choice of the grades, on the page of a store that has no drawings yet.

import { shown } from "./labels.js";
import { t } from "./language.js";
import { note } from "./note.js";
import { GRADES, NAMED } from "./scale.js";
import { ask, reason } from "./server.js";

const OWN = "";
const SHOWN = 3; // of a scale's labels, before the last one

const form = document.getElementById("scaling");
const { named, own } = form.elements;
const isSame = (labels) => labels.join() === GRADES.join();
const sample = (labels) => `${labels.slice(0, SHOWN).map(shown).join(", ")}, … ${shown(labels.at(-1))}`;

// `counts`: the answer of /api/counts. It is offered while there are no drawings.
export function offerScales({ grades, waiting }) {
  form.hidden = waiting > 0 || Object.keys(grades).length > 0;
}

function showOwn() {
  own.parentElement.hidden = named.value !== OWN;
  own.required = named.value === OWN;
}

for (const { name, labels } of NAMED) named.append(new Option(sample(labels), name));
named.append(new Option(t("scale.own"), OWN));
named.value = NAMED.find(({ labels }) => isSame(labels))?.name ?? OWN;
if (named.value === OWN) own.value = GRADES.join(GRADES.some((grade) => grade.includes(",")) ? "; " : ", ");
showOwn();

named.addEventListener("change", showOwn);
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await ask("api/scale", { scale: named.value || own.value });
    location.reload(); // everything on it has the grades of before
  } catch (error) {
    note(reason(error), true);
  }
});
