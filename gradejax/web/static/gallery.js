// A listbox of any number of pictures; only those in view are in the page.

import { NO_GRADE, shown, spoken } from "/static/drawings.js";

const GAP = 10; // CSS pixels
const CELL_WIDTH = 100; // before it is stretched to fill the row
const CAPTION_HEIGHT = 28;
const SPARE_ROWS = 3; // kept above and below those in view

// Events: "select" when `selected` changes; "more" when the end of `items` comes into view.
export class Gallery extends EventTarget {
  items = [];
  total = 0;
  selected = new Set();
  #element;
  #nodes = new Map(); // index → node
  #active = 0;
  #anchor = 0;
  #columns = 1;
  #cell = CELL_WIDTH;
  #renderPending = false;

  constructor(element) {
    super();
    this.#element = element;
    addEventListener("scroll", () => this.#renderSoon(), { passive: true });
    new ResizeObserver(() => this.#renderSoon()).observe(element.parentElement);
    element.addEventListener("click", (event) => this.#clicked(event));
    element.addEventListener("keydown", (event) => this.#pressed(event));
  }

  show(items, total) {
    this.items = items;
    this.total = total;
    this.#active = this.#anchor = 0;
    for (const node of this.#nodes.values()) node.remove();
    this.#nodes.clear();
    this.#render();
    if (items.length) this.#element.setAttribute("aria-activedescendant", "drawing-0");
    else this.#element.removeAttribute("aria-activedescendant");
    this.select([]);
  }

  append(items) {
    this.items = [...this.items, ...items];
    this.#render();
  }

  // Call it after changing items in place.
  refresh() {
    for (const [index, node] of this.#nodes) this.#fill(node, index);
  }

  select(ids) {
    this.selected = new Set(ids);
    this.refresh();
    this.dispatchEvent(new Event("select"));
  }

  #renderSoon() {
    if (this.#renderPending) return;
    this.#renderPending = true;
    requestAnimationFrame(() => {
      this.#renderPending = false;
      this.#render();
    });
  }

  #render() {
    const width = this.#element.clientWidth;
    if (!width) return;
    this.#columns = Math.max(3, Math.floor((width + GAP) / (1.2 * CELL_WIDTH + GAP)));
    this.#cell = (width - GAP * (this.#columns - 1)) / this.#columns;
    const step = this.#cell + CAPTION_HEIGHT + GAP;
    const rows = Math.ceil(this.items.length / this.#columns);
    this.#element.style.height = `${Math.max(0, rows * step - GAP)}px`;

    const top = -this.#element.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / step) - SPARE_ROWS) * this.#columns;
    const last = Math.min(this.items.length, (Math.ceil((top + innerHeight) / step) + SPARE_ROWS) * this.#columns);
    for (const [index, node] of this.#nodes) {
      if ((index < first || index >= last) && index !== this.#active) {
        node.remove();
        this.#nodes.delete(index);
      }
    }
    for (let index = first; index < last; index++) this.#node(index);
    if (this.items.length) this.#node(this.#active);
    for (const [index, node] of this.#nodes) {
      const [row, column] = [Math.floor(index / this.#columns), index % this.#columns];
      node.style.width = `${this.#cell}px`;
      node.style.height = `${this.#cell + CAPTION_HEIGHT}px`;
      node.style.transform = `translate(${column * (this.#cell + GAP)}px, ${row * step}px)`;
    }
    if (last === this.items.length && last < this.total) this.dispatchEvent(new Event("more"));
  }

  #node(index) {
    if (this.#nodes.has(index)) return;
    const node = document.createElement("div");
    node.setAttribute("role", "option");
    node.id = `drawing-${index}`;
    const image = document.createElement("img");
    image.alt = "";
    image.decoding = "async";
    image.src = `/api/picture?id=${encodeURIComponent(this.items[index].id)}`;
    const caption = document.createElement("span");
    caption.className = "caption";
    node.append(image, caption);
    this.#nodes.set(index, node);
    this.#fill(node, index);
    this.#element.append(node);
  }

  #fill(node, index) {
    const { id, label, guess, is_grade, confidence } = this.items[index];
    const seen = is_grade ? guess : NO_GRADE;
    const disagrees = guess && seen !== label;
    node.ariaSelected = String(this.selected.has(id));
    node.ariaPosInSet = String(index + 1);
    node.ariaSetSize = String(this.total);
    node.ariaLabel = spoken(label) + (disagrees ? `, perhaps ${spoken(seen)}` : "");
    node.classList.toggle("active", index === this.#active);
    const caption = node.lastChild;
    caption.textContent = shown(label);
    if (guess) {
      const doubt = document.createElement("span");
      doubt.className = "doubt";
      doubt.textContent = disagrees ? `${shown(seen)}?` : `${Math.round(100 * confidence)}%`;
      caption.append(doubt);
    }
  }

  #clicked(event) {
    const node = event.target.closest("[role=option]");
    if (!node) return;
    const index = Number(node.id.split("-")[1]);
    if (event.shiftKey) this.#extend(index);
    else this.#toggle(index);
  }

  #toggle(index) {
    const { id } = this.items[index];
    this.#anchor = index;
    this.select(this.selected.has(id) ? [...this.selected].filter((other) => other !== id) : [...this.selected, id]);
    this.#go(index);
  }

  #extend(index) {
    const [from, to] = [Math.min(this.#anchor, index), Math.max(this.#anchor, index)];
    this.select([...this.selected, ...this.items.slice(from, to + 1).map(({ id }) => id)]);
    this.#go(index);
  }

  #go(index) {
    this.#active = index;
    this.#render();
    this.refresh();
    this.#element.setAttribute("aria-activedescendant", `drawing-${index}`);
    this.#nodes.get(index).scrollIntoView({ block: "nearest" });
  }

  #pressed(event) {
    if (!this.items.length) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.#columns, ArrowDown: this.#columns };
    const ends = { Home: 0, End: this.items.length - 1 };
    const goal = event.key in steps ? this.#active + steps[event.key] : ends[event.key];
    if (goal !== undefined) {
      const index = Math.min(this.items.length - 1, Math.max(0, goal));
      if (event.shiftKey) this.#extend(index);
      else this.#go(index);
    } else if (event.key === " ") this.#toggle(this.#active);
    else if (event.key === "Escape") this.select([]);
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) this.select(this.items.map(({ id }) => id));
    else return;
    event.preventDefault();
  }
}
