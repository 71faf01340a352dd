// A drawing that is still on the paper when its page is left: kept, and brought back by the next visit.

import { forget, keep, kept } from "./storage.js";

// Keeps the strokes on `pad`, with the label that `labelled` returns, as `name`. Returns what an earlier visit left,
// as {label, strokes}, or null.
export function keepUnfinished(name, pad, labelled) {
  const left = kept(name);
  forget(name); // or a second tab would bring it back as well
  let written = null;

  // Returns whether a drawing on the paper outlives the page.
  function write() {
    const now = pad.isEmpty ? null : JSON.stringify({ label: labelled(), strokes: pad.strokes });
    if (now === null) withdraw();
    written = now;
    return now === null || keep(name, now);
  }

  // Not what another tab has written.
  function withdraw() {
    if (written !== null && kept(name) === written) forget(name);
    written = null;
  }

  // A phone ends hidden pages without any further event.
  document.addEventListener("visibilitychange", () => (document.hidden ? write() : withdraw()));
  addEventListener("pagehide", write);
  addEventListener("beforeunload", (event) => write() || event.preventDefault());
  return parsed(left);
}

function parsed(text) {
  try {
    const { label, strokes } = JSON.parse(text);
    const isWhole = (points) => points.length > 0 && points.every(({ x, y, t }) => Number.isFinite(x + y + t));
    return strokes.length && strokes.every(isWhole) ? { label, strokes } : null;
  } catch {
    return null; // nothing, or nothing that this version wrote
  }
}
