// Drawings that the server refused: why, and what to do about it. None is discarded unless the visitor says so.

import { shown } from "./labels.js";
import { t } from "./language.js";
import { note } from "./note.js";
import { reason } from "./server.js";
import { refreshOffer, TagField } from "./tagging.js";

const MAX_LABELS = 6; // listed one by one

function button(text, act) {
  const node = document.createElement("button");
  node.type = "button";
  node.textContent = text;
  node.addEventListener("click", () => act(node));
  return node;
}

// One or more drawings that have the same tags and were refused for the same reason. Aborting `signal` ends it.
function group(queue, drawings, error, signal) {
  const ids = drawings.map(({ id }) => id);
  const labels = drawings.slice(0, MAX_LABELS).map(({ label }) => shown(label));
  if (drawings.length > MAX_LABELS) labels.push("…");
  const n = drawings.length;
  const message = document.createElement("p");
  message.textContent = `${t("refused.message", { n, labels: labels.join(", ") })} ${reason(error)}`;
  const place = document.createElement("div");
  const names = { many: t("refused.change-tags"), one: t("refused.change-tag") };
  const field = new TagField(place, `tags-${ids[0]}`, names, drawings[0].tags, { signal });
  const again = () => {
    if (!field.problem) return done(queue.retag(ids, field.tags));
    field.focus();
    note(field.problem);
  };
  const done = (change) => change.catch(() => note(t("refused.not-updated"), true));
  // The first click asks, the second confirms.
  const discard = (node) => {
    if (node.dataset.asked) return done(queue.discard(ids));
    node.dataset.asked = "true";
    node.textContent = t("refused.discard-question", { n });
  };
  const buttons = document.createElement("div");
  buttons.className = "choices";
  buttons.append(button(t("refused.send-again"), again), button(t("refused.discard"), discard));
  const node = document.createElement("div");
  node.role = "group";
  node.append(message, place, buttons);
  return node;
}

// Shows in `section` the drawings that the server refused.
export function showRefused(section, queue) {
  let before = [];
  let current = new AbortController();
  queue.addEventListener("change", () => {
    // Each refusal has its own error. Without a new one nothing is redrawn, so that text being typed stays.
    const now = queue.refused.map(({ error }) => error);
    if (now.length === before.length && now.every((error, i) => error === before[i])) return;
    before = now;
    const groups = new Map();
    for (const { drawing, error } of queue.refused) {
      const key = JSON.stringify([drawing.tags, error.message]);
      if (!groups.has(key)) groups.set(key, { drawings: [], error });
      groups.get(key).drawings.push(drawing);
    }
    current.abort();
    current = new AbortController();
    const nodes = [...groups.values()].map(({ drawings, error }) => group(queue, drawings, error, current.signal));
    section.replaceChildren(...nodes);
    section.hidden = !groups.size;
    if (!groups.size) return;
    note(t("refused.see-below"), true);
    refreshOffer(); // what is offered now may be why
  });
}
