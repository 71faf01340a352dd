// A listbox of any number of pictures; only those in view are in the page.

import { NO_GRADE, shown, spoken } from "./labels.js";
import { percent, t } from "./language.js";

const GAP = 10; // CSS pixels
const CELL_WIDTH = 100; // before it is stretched to fill the row
const CAPTION_HEIGHT = 28;
const SPARE_ROWS = 3; // kept above and below those in view

// What the model takes an item's drawing for, which may be no grade; null where no model was asked.
export const guessed = ({ guess, is_grade }) => (guess && !is_grade ? NO_GRADE : guess);

// Events: "select" when `selected` changes; "more" when the end of `items` comes into view; "all" when all that match
// are to be selected; "open" when the active drawing is to be shown large.
export class Gallery extends EventTarget {
  items = [];
  total = 0; // of which `items` may be the first ones
  selected = new Set(); // ids, perhaps of drawings that are not in `items`
  #element;
  #nodes = new Map(); // id → node
  #active = 0;
  #anchor = 0;
  #columns = 1;
  #cell = CELL_WIDTH;
  #renderPending = false;
  #beganHere = false; // whether the first click of a double click was in the gallery

  constructor(element) {
    super();
    this.#element = element;
    addEventListener("scroll", () => this.#renderSoon(), { passive: true });
    new ResizeObserver(() => this.#renderSoon()).observe(element.parentElement);
    document.addEventListener("click", (event) => this.#clickedAgain(event), true);
    element.addEventListener("click", (event) => this.#clicked(event));
    element.addEventListener("keydown", (event) => this.#pressed(event));
  }

  get active() {
    return this.#active;
  }

  show(items, total) {
    this.items = items;
    this.total = total;
    this.#active = this.#anchor = 0;
    for (const node of this.#nodes.values()) node.remove();
    this.#nodes.clear();
    this.#element.hidden = !items.length; // an empty box would take the focus
    this.#render();
    this.select([]);
  }

  append(items) {
    this.items = [...this.items, ...items];
    this.#rearranged();
  }

  // Takes drawings out. The others close the gap; what is above the window does not move what is in it.
  // Returns what `putBack` takes.
  remove(ids) {
    const before = this.items;
    const firstSeen = Math.max(0, Math.floor(-this.#top() / this.#step())) * this.#columns;
    const gone = before.flatMap((item, index) => (ids.has(item.id) ? [{ item, index }] : []));
    const above = (limit) => gone.filter(({ index }) => index < limit).length;
    const [rowsAbove, goneBeforeActive] = [Math.floor(above(firstSeen) / this.#columns), above(this.#active)];
    this.items = before.filter(({ id }) => !ids.has(id));
    this.total -= ids.size;
    this.#active = Math.max(0, Math.min(this.#active - goneBeforeActive, this.items.length - 1));
    this.#anchor = this.#active;
    this.#rearranged();
    if (rowsAbove) scrollBy(0, -rowsAbove * this.#step());
    if (!this.items.length && this.total) this.dispatchEvent(new Event("more"));
    return gone;
  }

  putBack(gone, total) {
    const items = [...this.items];
    for (const { item, index } of gone) items.splice(Math.min(index, items.length), 0, item);
    this.items = items;
    this.total = total;
    if (gone.length) this.#active = this.#anchor = Math.min(gone[0].index, items.length - 1);
    this.#rearranged();
  }

  // Call it after changing items in place.
  refresh() {
    const indices = new Map(this.items.map(({ id }, index) => [id, index]));
    for (const [id, node] of this.#nodes) this.#fill(node, indices.get(id));
    if (this.items.length) this.#element.setAttribute("aria-activedescendant", `drawing-${this.#active}`);
    else this.#element.removeAttribute("aria-activedescendant");
  }

  select(ids) {
    this.selected = new Set(ids);
    this.refresh();
    this.dispatchEvent(new Event("select"));
  }

  // Makes a drawing the active one, and scrolls to it.
  go(index) {
    this.#active = index;
    this.#render();
    this.refresh();
    this.#nodes.get(this.items[index].id).scrollIntoView({ block: "nearest" });
  }

  focus() {
    this.#element.focus({ preventScroll: true });
  }

  #top() {
    return this.#element.getBoundingClientRect().top;
  }

  #step() {
    return this.#cell + CAPTION_HEIGHT + GAP;
  }

  #rearranged() {
    this.#element.hidden = !this.items.length;
    const kept = new Set(this.items.map(({ id }) => id));
    for (const [id, node] of this.#nodes) {
      if (kept.has(id)) continue;
      node.remove();
      this.#nodes.delete(id);
    }
    this.#render();
    this.refresh();
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
    const step = this.#step();
    const rows = Math.ceil(this.items.length / this.#columns);
    this.#element.style.height = `${Math.max(0, rows * step - GAP)}px`;

    const top = -this.#top();
    const first = Math.max(0, Math.floor(top / step) - SPARE_ROWS) * this.#columns;
    const last = Math.min(this.items.length, (Math.ceil((top + innerHeight) / step) + SPARE_ROWS) * this.#columns);
    const wanted = new Map(); // id → index
    for (let index = first; index < last; index++) wanted.set(this.items[index].id, index);
    if (this.items.length) wanted.set(this.items[this.#active].id, this.#active);
    for (const [id, node] of this.#nodes) {
      if (wanted.has(id)) continue;
      node.remove();
      this.#nodes.delete(id);
    }
    for (const [id, index] of wanted) {
      const node = this.#nodes.get(id) ?? this.#add(id, index);
      const [row, column] = [Math.floor(index / this.#columns), index % this.#columns];
      node.style.width = `${this.#cell}px`;
      node.style.height = `${this.#cell + CAPTION_HEIGHT}px`;
      node.style.transform = `translate(${column * (this.#cell + GAP)}px, ${row * step}px)`;
    }
    if (last === this.items.length && last < this.total) this.dispatchEvent(new Event("more"));
  }

  #add(id, index) {
    const node = document.createElement("div");
    node.setAttribute("role", "option");
    const image = document.createElement("img");
    image.alt = "";
    image.decoding = "async";
    image.src = `api/picture?id=${encodeURIComponent(id)}`;
    const caption = document.createElement("span");
    caption.className = "caption";
    node.append(image, caption);
    this.#nodes.set(id, node);
    this.#fill(node, index);
    this.#element.append(node);
    return node;
  }

  #fill(node, index) {
    const item = this.items[index];
    const { id, label, confidence } = item;
    const guess = guessed(item);
    const sure = confidence === null ? "" : percent(confidence);
    node.id = `drawing-${index}`;
    node.ariaSelected = String(this.selected.has(id));
    node.ariaPosInSet = String(index + 1);
    node.ariaSetSize = String(this.total);
    node.classList.toggle("active", index === this.#active);
    const caption = node.lastChild;
    const doubt = guess && guess !== label ? t("browse.perhaps", { label: spoken(guess) }) : "";
    node.ariaLabel = [spoken(label), doubt, sure && t("browse.sure-of-label", { share: sure })].filter(Boolean).join(", ");
    caption.textContent = shown(label);
    if (!guess) return;
    const line = document.createElement("span");
    line.className = doubt ? "doubt" : "doubt sure";
    line.textContent = doubt ? `${shown(guess)}?` : sure;
    caption.append(line);
  }

  // The second click of two opens the drawing that the first one selected, wherever it lands: the first may have moved
  // another drawing, or the bar with its buttons, under the pointer.
  #clickedAgain(event) {
    if (event.detail < 2) this.#beganHere = this.#element.contains(event.target);
    else if (this.#beganHere) {
      event.stopPropagation();
      event.preventDefault();
      if (event.detail === 2) this.#open();
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
    const selected = new Set(this.selected);
    if (!selected.delete(id)) selected.add(id);
    this.select(selected);
    this.go(index);
  }

  #extend(index) {
    const [from, to] = [Math.min(this.#anchor, index), Math.max(this.#anchor, index)];
    this.select([...this.selected, ...this.items.slice(from, to + 1).map(({ id }) => id)]);
    this.go(index);
  }

  #open() {
    this.dispatchEvent(new Event("open"));
  }

  #pressed(event) {
    if (!this.items.length) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.#columns, ArrowDown: this.#columns };
    const ends = { Home: 0, End: this.items.length - 1 };
    const goal = event.key in steps ? this.#active + steps[event.key] : ends[event.key];
    if (goal !== undefined) {
      const index = Math.min(this.items.length - 1, Math.max(0, goal));
      if (event.shiftKey) this.#extend(index);
      else this.go(index);
    } else if (event.key === " ") this.#toggle(this.#active);
    else if (event.key === "Enter") this.#open();
    else if (event.key === "Escape") this.select([]);
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) this.dispatchEvent(new Event("all"));
    else return;
    event.preventDefault();
  }
}
