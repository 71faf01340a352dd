// The drawing area: signature_pad follows the pen; strokes are kept in canvas units, and inked from these.

import { t } from "./language.js";
import SignaturePad from "./vendor/signature_pad.js";

export const SIDE = 280; // canvas units, and pixels of the PNG
const PEN = 20; // canvas units across

// A Catmull-Rom spline: smooth through every point, however far apart a fast pen left them.
function trace(context, points) {
  const at = (i) => points[Math.min(points.length - 1, Math.max(0, i))];
  context.moveTo(at(0).x, at(0).y);
  for (let i = 1; i < points.length; i++) {
    const [before, from, to, after] = [at(i - 2), at(i - 1), at(i), at(i + 1)];
    context.bezierCurveTo(
      from.x + (to.x - before.x) / 6,
      from.y + (to.y - before.y) / 6,
      to.x - (after.x - from.x) / 6,
      to.y - (after.y - from.y) / 6,
      to.x,
      to.y,
    );
  }
}

// Inks strokes the way the existing drawings were inked: black, with a round pen of constant width. `left` and `top`
// are where the context's canvas begins, in canvas units.
function ink(context, strokes, scale, left = 0, top = 0) {
  context.save();
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  context.setTransform(scale, 0, 0, scale, -left * scale, -top * scale);
  context.lineWidth = PEN;
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = context.fillStyle = "black";
  for (const points of strokes) {
    context.beginPath();
    if (points.length === 1) {
      context.arc(points[0].x, points[0].y, PEN / 2, 0, 2 * Math.PI);
      context.fill();
    } else {
      trace(context, points);
      context.stroke();
    }
  }
  context.restore();
}

function sheet() {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  return canvas.getContext("2d", { willReadFrequently: true });
}

const rounded = (value) => Math.round(value * 100) / 100;

// Keeps the paper's size, or lets it fit the window again. See --held in style.css.
function hold(width) {
  const { style } = document.documentElement;
  if (!width) style.removeProperty("--held");
  else if (!style.getPropertyValue("--held")) style.setProperty("--held", `${width}px`);
}

// Events: "begin" when the pen touches the paper; "change" whenever `strokes` has changed.
export class Pad extends EventTarget {
  strokes = [];
  #canvas;
  #live;
  #sheet = sheet(); // as large as the PNG
  #alpha = new Uint8Array(SIDE * SIDE);
  #start = 0;
  #isDown = false; // the pen

  constructor(canvas) {
    super();
    this.#canvas = canvas;
    this.#live = new SignaturePad(canvas, { throttle: 0, minDistance: 1 });
    this.#live.addEventListener("beginStroke", () => {
      // signature_pad prevents the default action, which would take the focus from a text field.
      document.activeElement?.blur();
      hold(canvas.clientWidth);
      this.#isDown = true;
      this.dispatchEvent(new Event("begin"));
    });
    this.#live.addEventListener("endStroke", () => {
      this.#isDown = false;
      this.#take();
      this.#fit();
    });
    // Else Chromium takes a stroke for a fling, and ignores a tap within the next fifth of a second.
    canvas.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
    new ResizeObserver(() => this.#fit()).observe(canvas);
    this.#fit();
  }

  get isEmpty() {
    return this.strokes.length === 0;
  }

  undo() {
    this.strokes = this.strokes.slice(0, -1);
    this.#changed();
  }

  clear() {
    this.strokes = [];
    this.#changed();
  }

  // Puts strokes on the paper, in the place of any that are there.
  show(strokes) {
    this.strokes = strokes;
    this.#start = Date.now() - (strokes.at(-1)?.at(-1).t ?? 0); // the drawing goes on from here
    this.#changed();
  }

  // Inks the drawing on another, square canvas, as large as fits.
  copyTo(canvas) {
    const points = this.strokes.flat();
    const range = (values) => [Math.min(...values), Math.max(...values)];
    const [[left, right], [top, bottom]] = [range(points.map(({ x }) => x)), range(points.map(({ y }) => y))];
    const side = Math.max(right - left, bottom - top) + 1.5 * PEN; // a spline goes a little beyond its points
    const [x, y] = [(left + right - side) / 2, (top + bottom - side) / 2];
    canvas.width = canvas.height = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1));
    ink(canvas.getContext("2d"), this.strokes, canvas.width / side, x, y);
  }

  // The PNG as base64: SIDE x SIDE, the ink in the alpha channel.
  png() {
    return this.#inked().canvas.toDataURL("image/png").split(",")[1];
  }

  // The ink of that PNG: a byte for each of SIDE x SIDE pixels.
  alpha() {
    const { data } = this.#inked().getImageData(0, 0, SIDE, SIDE);
    for (let i = 0; i < this.#alpha.length; i++) this.#alpha[i] = data[4 * i + 3];
    return this.#alpha;
  }

  // Names the paper for screen readers.
  describe() {
    this.#canvas.ariaLabel = this.isEmpty ? t("pad.empty") : t("pad.strokes", { n: this.strokes.length });
  }

  #inked() {
    ink(this.#sheet, this.strokes, 1);
    return this.#sheet;
  }

  #take() {
    const scale = SIDE / this.#canvas.clientWidth;
    const points = this.#live.toData().at(-1).points;
    if (this.isEmpty) this.#start = points[0].time;
    const stroke = points.map(({ x, y, time, pressure }) => ({
      x: rounded(x * scale),
      y: rounded(y * scale),
      t: time - this.#start,
      pressure: rounded(pressure),
    }));
    this.strokes = [...this.strokes, stroke];
    this.#changed();
  }

  #changed() {
    hold(this.isEmpty ? 0 : this.#canvas.clientWidth);
    this.#live.clear();
    this.#paint();
    this.describe();
    this.dispatchEvent(new Event("change"));
  }

  #fit() {
    const width = this.#canvas.clientWidth;
    const ratio = window.devicePixelRatio || 1;
    const pixels = Math.round(width * ratio);
    if (!pixels || this.#canvas.width === pixels || this.#isDown) return; // it would wipe the stroke out
    this.#canvas.width = this.#canvas.height = pixels;
    this.#canvas.getContext("2d").scale(pixels / width, pixels / width); // signature_pad draws in CSS pixels
    this.#live.minWidth = this.#live.maxWidth = this.#live.dotSize = (PEN / 2 / SIDE) * width;
    this.#live.clear();
    this.#paint();
  }

  #paint() {
    ink(this.#canvas.getContext("2d"), this.strokes, this.#canvas.width / SIDE);
  }
}
