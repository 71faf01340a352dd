// Tags, the secret of the writer, and a drawing as it is sent.

import { t } from "./language.js";
import { forget, keep, kept } from "./storage.js";

// The tag of drawings that wait for the teacher: see gradejax.dataset.
const QUARANTINE_TAG = "quarantine";

// The server's limits and its rule for names: see gradejax.drawings and gradejax.web.messages.
const MAX_NAME_LENGTH = 200;
const MAX_TAGS = 31; // and "guess"
const MAX_CHARACTERS = 490; // in all tags together
const MAX_POINTS = 5000;
export const AT_ONCE = 1000; // ids in one request

// Sorts 7a before 10b.
export const byName = new Intl.Collator(undefined, { numeric: true }).compare;

// Instead of crypto.randomUUID, which browsers withhold from pages loaded over plain HTTP.
function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Like MongoDB's ObjectId: the time, here to the minute, for the teacher may have asked for that; then random bytes.
export function newId() {
  const minute = ((Math.floor(Date.now() / 60000) * 60) >>> 0).toString(16).padStart(8, "0");
  return minute + hex(crypto.getRandomValues(new Uint8Array(8)));
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
  if (!tags.length) return t("tagging.add-first");
  if (tags.length > MAX_TAGS) return t("tagging.too-many", { max: MAX_TAGS });
  if (tags.reduce((sum, tag) => sum + [...tag].length, 0) > MAX_CHARACTERS) return t("tagging.too-long");
  if (tags.includes(QUARANTINE_TAG)) return t("tagging.reserved", { tag: QUARANTINE_TAG });
  for (const tag of tags) {
    if ([...tag].length > MAX_NAME_LENGTH) return t("tagging.tag-too-long", { max: MAX_NAME_LENGTH });
    if (/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(tag)) return t("tagging.not-typable");
    if (!/[^\p{Z}\p{Cc}\p{Cf}]/u.test(tag)) return t("tagging.not-visible");
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
