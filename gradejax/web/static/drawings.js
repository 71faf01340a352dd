// Grades, tags, the secret of the writer, and a drawing as it is sent.

import { forget, keep, kept } from "./storage.js";

export const GRADES = ["A", "B", "C", "D", "E"].flatMap((letter) => [`${letter}+`, letter, `${letter}-`]);

// The label of a drawing that deliberately shows none.
export const NO_GRADE = "no grade";
export const LABELS = [...GRADES, NO_GRADE];

// The tag of drawings that wait for the teacher: see gradejax.dataset.
const QUARANTINE_TAG = "quarantine";

// The server's limits and its rule for names: see gradejax.drawings and gradejax.web.messages.
const MAX_NAME_LENGTH = 200;
const MAX_TAGS = 31; // and "guess"
const MAX_CHARACTERS = 490; // in all tags together
const MAX_POINTS = 5000;
export const AT_ONCE = 1000; // ids in one request

export const shown = (label) => label.replace("-", "−");
export const spoken = (label) => label.replace("+", " plus").replace("-", " minus");

// The pages speak English, whatever the browser's language.
export const number = (n) => n.toLocaleString("en");
export const drawings = (n) => (n === 1 ? "1 drawing" : `${number(n)} drawings`);

// Sorts 7a before 10b.
export const byName = new Intl.Collator(undefined, { numeric: true }).compare;

// Instead of crypto.randomUUID, which browsers withhold from pages loaded over plain HTTP.
function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Like MongoDB's ObjectId: the time in seconds, then random bytes.
export function newId() {
  const seconds = (Math.floor(Date.now() / 1000) >>> 0).toString(16).padStart(8, "0");
  return seconds + hex(crypto.getRandomValues(new Uint8Array(8)));
}

const KEY = "writer-key";
const OF_THE_WRITER = [KEY, "writer", "drawn", "unfinished-draw", "unfinished-guess"];

// The secret of whoever draws on this device; null before the first drawing. It goes to the server in the bodies of
// requests only, and the server keeps a hash of it: who has the secret may see and delete what was drawn with it.
export const writerKey = () => kept(KEY);

function keptKey() {
  if (!writerKey()) keep(KEY, hex(crypto.getRandomValues(new Uint8Array(16))));
  return writerKey();
}

// Whether a drawing that waits in this browser was drawn by whoever draws here now. Earlier versions named a writer.
export const isOwn = ({ writer_key, writer }) => (writer_key ? writer_key === writerKey() : writer === kept("writer"));

// Somebody else draws on this device from now on.
export function forgetWriter() {
  OF_THE_WRITER.forEach(forget);
}

export function tagsIn(text) {
  return [...new Set(text.split(",").map((tag) => tag.trim()).filter(Boolean))];
}

// Why the server would refuse these tags, in a sentence; empty if it would accept them.
export function problemWith(tags) {
  if (!tags.length) return "Add a tag first: your class or team.";
  if (tags.length > MAX_TAGS) return `A drawing can have at most ${MAX_TAGS} tags.`;
  if (tags.reduce((sum, tag) => sum + [...tag].length, 0) > MAX_CHARACTERS) return "The tags are too long.";
  if (tags.includes(QUARANTINE_TAG)) return `The tag ${QUARANTINE_TAG} cannot be given: choose another.`;
  for (const tag of tags) {
    if ([...tag].length > MAX_NAME_LENGTH) return `A tag can have at most ${MAX_NAME_LENGTH} characters.`;
    if (/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(tag)) return "A tag contains a character that cannot be typed.";
    if (!/[^\p{Z}\p{Cc}\p{Cf}]/u.test(tag)) return "A tag must contain something visible.";
  }
  return "";
}

export function keptTags() {
  const tags = tagsIn(kept("tags") ?? "");
  return problemWith(tags) ? [] : tags;
}

export function keepTags(tags) {
  keep("tags", tags.join(", "));
}

// Makes strokes fit the server's limits: a long drawing is thinned out, and times are clipped, for a clock may have
// been set while drawing.
function fitting(strokes) {
  let every = 1;
  const thin = () => strokes.map((points) => points.filter((_, i) => i % every === 0 || i === points.length - 1));
  while (thin().flat().length > MAX_POINTS && every < MAX_POINTS) every++;
  const thinned = thin().map((points) => points.map((p) => ({ ...p, t: Math.min(1e9, Math.max(0, p.t ?? 0)) })));
  return thinned.flat().length > MAX_POINTS ? null : thinned;
}

// The drawing as it is sent.
export const sendable = (drawing) => ({ ...drawing, strokes: drawing.strokes && fitting(drawing.strokes) });

export function drawing(pad, label, tags) {
  return {
    id: newId(),
    tags,
    label,
    data: pad.png(),
    date: new Date().toISOString(),
    writer_key: keptKey(),
    strokes: pad.strokes,
  };
}
