// A trained recogniser: from the ink of a drawing to guesses. It computes what gradejax.recogniser does.

import { network } from "./forward.js";
import { resampler, view } from "./resampling.js";

const LIKELIEST = 5; // gradejax.web.guessing
const DRAWN = 32; // of 255: fainter ink is none
const MIN_EXTENT = 0.2; // of the picture's side
const WARM_UP = 3; // guesses
const COVERED = 0.9 * 255; // a canvas with more ink on average shows nothing: gradejax.ink

// `model`: what gradejax.export.page writes. Returns the function from a drawing, a byte for each of `side` x `side`
// pixels, to {guesses, is_grade}, the server's answer to api/guess.
export function recogniser(model, side) {
  const { labels, size, temperature, threshold } = model;
  const resample = resampler(side, size, model.resampling);
  const views = model.views.map((map) => view(map, size));
  const logitsOf = network({
    layers: model.layers,
    size,
    divisor: model.ink_divisor,
    weights: new Int16Array(decoded(model.weights)),
    vectors: new Float32Array(decoded(model.vectors)),
  });
  const bare = new Uint8Array(side * side);

  function guess(ink) {
    const picture = resample(mean(ink) < COVERED ? ink : bare);
    const logits = new Float64Array(model.outputs);
    for (const seen of views) {
      const own = logitsOf(seen(picture));
      for (let i = 0; i < logits.length; i++) logits[i] += own[i] / views.length;
    }
    const confidences = softmax(logits.subarray(0, labels.length), temperature);
    const score = Math.max(...softmax(logits, temperature).subarray(0, labels.length));
    const best = labels.map((label, i) => ({ label, confidence: confidences[i] }));
    best.sort((one, other) => other.confidence - one.confidence);
    return { guesses: best.slice(0, LIKELIEST), is_grade: score >= threshold && !isTooSmall(picture, size) };
  }

  // The browser compiles it, or the first guesses would wait for that.
  const inked = Uint8Array.from(bare, (_, i) => 255 * (i % 2));
  for (let i = 0; i < WARM_UP; i++) guess(inked);
  return guess;
}

// Whether a picture shows nothing, or hardly more than a dot: gradejax.calibration.is_too_small.
function isTooSmall(picture, size) {
  let [rows, columns] = [0, 0];
  for (let i = 0; i < size; i++) {
    let [inRow, inColumn] = [false, false];
    for (let j = 0; j < size; j++) {
      inRow ||= picture[i * size + j] >= DRAWN;
      inColumn ||= picture[j * size + i] >= DRAWN;
    }
    rows += inRow;
    columns += inColumn;
  }
  return Math.max(rows, columns) < MIN_EXTENT * size;
}

function decoded(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).buffer;
}

function mean(ink) {
  let sum = 0;
  for (const value of ink) sum += value;
  return sum / ink.length;
}

function softmax(logits, temperature) {
  const largest = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp((logit - largest) / temperature));
  const sum = powers.reduce((total, power) => total + power);
  return powers.map((power) => power / sum);
}
