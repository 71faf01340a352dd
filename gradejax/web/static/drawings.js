// What a page knows of grades, of the hand that draws, and of a drawing's document.

import { keep, kept } from "/static/kept.js";

export const GRADES = ["A", "B", "C", "D", "E"].flatMap((letter) => [`${letter}+`, letter, `${letter}-`]);

// The server's limits, and its rule for names: see gradejax.drawings and gradejax.web.messages.
const LONGEST_NAME = 200;
const MOST_TAGS = 31; // and "guess"
const MOST_CHARACTERS = 490; // of all tags together
const MOST_POINTS = 5000;

export const shown = (grade) => grade.replace("-", "−");
export const spoken = (grade) => grade.replace("+", " plus").replace("-", " minus");

// 7a before 10b.
export const byName = new Intl.Collator(undefined, { numeric: true }).compare;

// Hex digits; crypto.randomUUID is withheld where the page came over plain HTTP.
function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// As MongoDB makes an ObjectId: the seconds, then what nobody else has.
export function newId() {
  const seconds = (Math.floor(Date.now() / 1000) >>> 0).toString(16).padStart(8, "0");
  return seconds + hex(crypto.getRandomValues(new Uint8Array(8)));
}

// This browser's anonymous hand.
function writer() {
  if (!kept("writer")) keep("writer", `hand-${hex(crypto.getRandomValues(new Uint8Array(6)))}`);
  return kept("writer");
}

export function tagsIn(text) {
  return [...new Set(text.split(",").map((tag) => tag.trim()).filter(Boolean))];
}

// Why the server would not take these tags, in a sentence; empty where it takes them.
export function flawIn(tags) {
  if (!tags.length) return "Give a tag first: your class or team.";
  if (tags.length > MOST_TAGS) return `A drawing has at most ${MOST_TAGS} tags.`;
  if (tags.reduce((sum, tag) => sum + [...tag].length, 0) > MOST_CHARACTERS) return "The tags are too long.";
  for (const tag of tags) {
    if ([...tag].length > LONGEST_NAME) return `A tag has at most ${LONGEST_NAME} characters.`;
    if (/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(tag)) return "A tag holds half a character, or one that nobody can type.";
    if (!/[^\p{Z}\p{Cc}\p{Cf}]/u.test(tag)) return "A tag has nothing that can be seen.";
  }
  return "";
}

export function keptTags() {
  const tags = tagsIn(kept("tags") ?? "");
  return flawIn(tags) ? [] : tags;
}

export function keepTags(tags) {
  keep("tags", tags.join(", "));
}

// Strokes as the server takes them: a long drawing thinned out, and times as they are where a clock was set meanwhile.
function fitting(strokes) {
  let every = 1;
  const chosen = () => strokes.map((points) => points.filter((_, i) => i % every === 0 || i === points.length - 1));
  while (chosen().flat().length > MOST_POINTS && every < MOST_POINTS) every++;
  const thinned = chosen().map((points) => points.map((p) => ({ ...p, t: Math.min(1e9, Math.max(0, p.t ?? 0)) })));
  return thinned.flat().length > MOST_POINTS ? null : thinned;
}

// A drawing as it is sent.
export const sendable = (drawing) => ({ ...drawing, strokes: drawing.strokes && fitting(drawing.strokes) });

export function drawing(pad, label, tags) {
  return {
    id: newId(),
    tags,
    label,
    data: pad.png(),
    date: new Date().toISOString(),
    writer: writer(),
    strokes: pad.strokes,
  };
}
