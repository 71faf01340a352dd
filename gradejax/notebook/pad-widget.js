// The widget gradejax.notebook.Pad: asks for a grade, and saves what is drawn.

import { shown } from "./labels.js";
import { button, call, lay, node } from "./paper.js";
import { choose } from "./prompts.js";

export function render({ model, el, experimental }) {
  const asked = node("strong", "asked");
  const totals = node("p", "quiet");
  const buttons = node("div", "tools", button("Skip", skip), button("Save", save, "main"));
  const { root, pad, note } = lay(el, "", node("p", "prompt", "Draw ", asked), buttons, totals);
  let grade = null;

  function ask() {
    grade = choose(new Map(Object.entries(model.get("counts"))), grade);
    asked.textContent = shown(grade);
  }

  function skip() {
    pad.clear();
    note("");
    ask();
  }

  async function save() {
    if (pad.isEmpty) return note(`Draw ${shown(grade)} first.`);
    const drawing = { label: grade, data: pad.png(), strokes: pad.strokes };
    root.inert = true; // what is drawn meanwhile would be lost
    const answer = await call(experimental, "_save", drawing, note);
    root.inert = false;
    if (answer.error) return note(`Not saved: ${answer.error}`, true);
    pad.clear();
    note(`${shown(grade)} is saved.`);
    ask();
  }

  function count() {
    const all = Object.values(model.get("counts")).reduce((sum, n) => sum + n, 0);
    totals.textContent = `${model.get("saved")} saved here, ${all.toLocaleString("en")} in the store`;
  }

  model.on("change:saved", count);
  count();
  ask();
  return () => model.off("change:saved", count);
}
