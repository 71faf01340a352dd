// A list of drawings with their pictures, of which some are selected.

import { shown, spoken } from "./labels.js";
import { dated, t } from "./language.js";

const SIDE = 140; // pixels of a picture: hundreds of large ones would be too much for a phone

const DATE = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };

function span(text, className) {
  const node = document.createElement("span");
  node.textContent = text;
  node.className = className;
  return node;
}

// The page's rules forbid pictures from data: addresses.
async function paint(canvas, data) {
  canvas.width = canvas.height = SIDE;
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const picture = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const scale = SIDE / Math.max(picture.width, picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  canvas.getContext("2d").drawImage(picture, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
  picture.close();
}

// Events: "select" when `selected` changes.
export class Own extends EventTarget {
  selected = new Set(); // ids
  #list;
  #nodes = new Map(); // by id

  constructor(list) {
    super();
    this.#list = list;
  }

  // Shows {id, label, date, data, isWaiting, aside}, in this order.
  show(drawings) {
    const ids = new Set(drawings.map(({ id }) => id));
    for (const [id, node] of this.#nodes) {
      if (ids.has(id)) continue;
      node.remove();
      this.#nodes.delete(id);
    }
    drawings.forEach((drawing, i) => {
      const node = this.#nodes.get(drawing.id) ?? this.#add(drawing);
      const state = drawing.isWaiting ? t("own.waiting") : drawing.aside ? t("own.not-used") : "";
      node.querySelector(".state").textContent = state;
      // A node that is moved would lose the focus.
      if (this.#list.children[i] !== node) this.#list.insertBefore(node, this.#list.children[i] ?? null);
    });
    this.select([...this.selected].filter((id) => ids.has(id)));
  }

  select(ids) {
    this.selected = new Set(ids);
    for (const [id, node] of this.#nodes) node.querySelector("input").checked = this.selected.has(id);
    this.dispatchEvent(new Event("select"));
  }

  selectAll() {
    this.select(this.#nodes.keys());
  }

  #add({ id, label, date, data }) {
    const node = document.createElement("li");
    const tile = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.addEventListener("change", () => {
      if (!this.selected.delete(id)) this.selected.add(id);
      this.dispatchEvent(new Event("select"));
    });
    const canvas = document.createElement("canvas");
    if (data) paint(canvas, data).catch(() => {}); // the label and the date are shown all the same
    const visible = span(shown(label), "label");
    visible.ariaHidden = "true";
    tile.append(box, canvas, visible, span(spoken(label), "spoken"), span(dated(date, DATE), "when"), span("", "state"));
    node.append(tile);
    this.#nodes.set(id, node);
    return node;
  }
}
