// What both widgets share: the paper with its buttons, a line that says what happened, and the kernel.

import { Pad } from "./pad.js";

const PATIENCE = 1500; // milliseconds until a widget says that it waits

export function node(name, className, ...content) {
  const made = document.createElement(name);
  made.className = className;
  made.append(...content);
  return made;
}

export function button(text, act, className = "") {
  const made = node("button", className, text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

// Fills the widget: the paper on the left, with the buttons Undo and Clear below it, and `side` on the right.
// Returns the `pad` and `note(text, isError)`.
export function lay(el, hint, ...side) {
  const canvas = node("canvas", "");
  canvas.role = "img";
  const invitation = node("p", "hint", hint);
  const line = node("p", "note");
  line.role = "status";
  const undo = button("Undo", () => pad.undo());
  const clear = button("Clear", () => pad.clear());
  const left = node("div", "left", node("div", "paper", canvas, invitation), node("div", "tools", undo, clear));
  const root = node("div", "gradejax", left, node("div", "side", ...side, line));
  root.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes Enter and letters for its own
  el.append(root);

  const pad = new Pad(canvas);
  pad.addEventListener("begin", () => (invitation.hidden = true));
  pad.addEventListener("change", () => {
    invitation.hidden = !pad.isEmpty;
    undo.disabled = clear.disabled = pad.isEmpty;
  });
  pad.clear();

  function note(text, isError = false) {
    line.textContent = text;
    line.classList.toggle("warn", isError);
  }
  return { root, pad, note };
}

// Calls a command of the widget in Python, however long the kernel is busy; returns its answer, or one with an `error`.
// Calls `wait` with a sentence if that takes a while.
export const call = async (experimental, command, message, wait) => {
  const timer = setTimeout(() => wait("Waiting for the kernel. If it was restarted, run this cell again."), PATIENCE);
  try {
    const [answer] = await experimental.invoke(command, message, { signal: new AbortController().signal });
    return answer;
  } catch {
    return { error: "the kernel is gone. Run this cell again." };
  } finally {
    clearTimeout(timer);
  }
};
