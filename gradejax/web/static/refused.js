// Drawings that the server will not take: why, and what a person can do about it. Nothing is discarded by itself.

import { flawIn, shown, tagsIn } from "/static/drawings.js";
import { note } from "/static/note.js";
import { reason } from "/static/server.js";

const MOST_LABELS = 6; // named one by one

function button(text, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", () => act(made));
  return made;
}

// One or more drawings that have the same tags and were refused for the same reason.
function group(queue, drawings, error) {
  const ids = drawings.map(({ id }) => id);
  const labels = drawings.slice(0, MOST_LABELS).map(({ label }) => shown(label));
  if (drawings.length > MOST_LABELS) labels.push("…");
  const count = drawings.length === 1 ? "1 drawing was" : `${drawings.length} drawings were`;
  const told = document.createElement("p");
  told.textContent = `${count} not taken (${labels.join(", ")}). ${reason(error)}`;
  const tags = document.createElement("input");
  tags.value = drawings[0].tags.join(", ");
  tags.maxLength = 400;
  tags.autocomplete = "off";
  const label = document.createElement("label");
  label.className = "tags";
  label.append("Their tags", tags);
  const again = () => {
    const flaw = flawIn(tagsIn(tags.value));
    if (!flaw) return done(queue.retag(ids, tagsIn(tags.value)));
    tags.focus();
    note(flaw, true);
  };
  const done = (change) => change.catch(() => note("The browser cannot change what it keeps.", true));
  // Once to be asked, once to answer.
  const discard = (made) => {
    if (made.dataset.asked) return done(queue.discard(ids));
    made.dataset.asked = "true";
    made.textContent = drawings.length === 1 ? "Discard this drawing?" : `Discard ${drawings.length} drawings?`;
  };
  const buttons = document.createElement("div");
  buttons.className = "choices";
  buttons.append(button("Send again", again), button("Discard", discard));
  const made = document.createElement("div");
  made.role = "group";
  made.append(told, label, buttons);
  return made;
}

// Keeps `section` up to date with what `queue` could not send.
export function showRefused(section, queue) {
  let before = [];
  queue.addEventListener("change", () => {
    // Each refusal is an error of its own. Where there is no new one, what is being typed stays.
    const now = queue.refused.map(({ error }) => error);
    if (now.length === before.length && now.every((error, i) => error === before[i])) return;
    before = now;
    const groups = new Map();
    for (const { drawing, error } of queue.refused) {
      const alike = JSON.stringify([drawing.tags, error.message]);
      if (!groups.has(alike)) groups.set(alike, { drawings: [], error });
      groups.get(alike).drawings.push(drawing);
    }
    section.replaceChildren(...[...groups.values()].map(({ drawings, error }) => group(queue, drawings, error)));
    section.hidden = !groups.size;
    if (groups.size) note("Not every drawing was taken: see below.", true);
  });
}
