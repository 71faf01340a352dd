// What a page knows of grades, of the hand that draws, and of a drawing's document.

export const GRADES = ["A", "B", "C", "D", "E"].flatMap((letter) => [`${letter}+`, letter, `${letter}-`]);

export const shown = (grade) => grade.replace("-", "−");
export const spoken = (grade) => grade.replace("+", " plus").replace("-", " minus");

// 7a before 10b.
export const byName = new Intl.Collator(undefined, { numeric: true }).compare;

// Hex digits; crypto.randomUUID is withheld where the page came over plain HTTP.
function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// As MongoDB makes an ObjectId: the seconds, then what nobody else has.
function newId() {
  const seconds = Math.floor(Date.now() / 1000).toString(16).padStart(8, "0");
  return seconds + hex(crypto.getRandomValues(new Uint8Array(8)));
}

// This browser's anonymous hand.
function writer() {
  let name = localStorage.getItem("writer");
  if (!name) {
    name = `hand-${hex(crypto.getRandomValues(new Uint8Array(6)))}`;
    localStorage.setItem("writer", name);
  }
  return name;
}

export function tagsIn(text) {
  return [...new Set(text.split(",").map((tag) => tag.trim().slice(0, 200)).filter(Boolean))].slice(0, 31);
}

export function keptTags() {
  return tagsIn(localStorage.getItem("tags") ?? "");
}

export function keepTags(tags) {
  localStorage.setItem("tags", tags.join(", "));
}

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
