// The widget gradejax.notebook.Guess: after each stroke, the likeliest grades, or that the drawing is not a grade.

import { NO_GRADE, shown } from "./labels.js";
import { call, lay, node } from "./paper.js";

const BARS = 5;

export function render({ model, el, experimental }) {
  const answer = node("p", "answer");
  const bars = Array.from({ length: BARS }, () => {
    const [grade, filled, share] = ["grade", "filled", "share"].map((name) => node("span", name));
    return { row: node("li", "", grade, node("span", "track", filled), share), grade, filled, share };
  });
  const list = node("ol", "bars", ...bars.map(({ row }) => row));
  list.ariaLabel = "The likeliest grades";
  const { pad, note } = lay(el, "Draw a grade", answer, list, node("p", "quiet", `Read by ${model.get("source")}`));
  let strokes = null; // the drawing that was asked about last

  function show({ grade = null, likeliest = [] }) {
    bars.forEach((bar, i) => {
      const [label, confidence] = likeliest[i] ?? ["", 0];
      bar.grade.textContent = shown(label);
      bar.filled.style.width = `${100 * confidence}%`;
      bar.share.textContent = label && `${Math.round(100 * confidence)}%`;
    });
    const isNone = likeliest.length > 0 && grade === null;
    answer.textContent = shown(isNone ? NO_GRADE : (grade ?? "?"));
    answer.classList.toggle("none", isNone);
    answer.classList.toggle("open", !likeliest.length);
    list.classList.toggle("dim", isNone);
  }

  async function follow() {
    ({ strokes } = pad);
    const asked = strokes;
    note("");
    if (pad.isEmpty) return show({});
    const read = await call(experimental, "_read", { data: pad.png() }, note);
    if (asked !== strokes) return; // a newer stroke is being read
    show(read);
    note(read.error ?? "", true);
  }

  pad.addEventListener("change", follow);
  show({});
}
