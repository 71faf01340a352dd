// The tags that a visitor gives a drawing: typed, or one of those that the teacher offers.

import { problemWith, tagsIn } from "./drawings.js";
import { t } from "./language.js";
import { ask } from "./server.js";

const UNTAGGED = "class"; // the tag of a drawing where none is offered
const ADDITIONAL = ["guess", "test-set"]; // need not be offered
const REFRESH = 15000; // milliseconds that an answer is new enough, while drawings are saved

// What the server offers, {tags, may_type}; null until it has said so. An event "change" says that it is another.
let offered = null;
const offer = new EventTarget();
let refreshed = 0;

// Asks the server what it offers now. Until it has answered once, everything may be typed: it refuses what it must.
export async function refreshOffer() {
  const before = JSON.stringify(offered);
  refreshed = Date.now();
  try {
    const { tags, may_type } = await ask("api/tags");
    offered = { tags, may_type };
  } catch {
    offered ??= { tags: [], may_type: true };
  }
  if (JSON.stringify(offered) !== before) offer.dispatchEvent(new Event("change"));
}

export function refreshOldOffer() {
  if (Date.now() - refreshed > REFRESH) refreshOffer();
}

function named(name, text, field) {
  const label = document.createElement("label");
  label.className = "tags";
  label.append(text, field);
  field.id = name;
  return label;
}

// A field in `node` that follows what is offered, until `signal` is aborted. `names`: what to call it if it holds many
// tags, and if it holds one; `changed(tags)`: called when the visitor has typed or chosen.
export class TagField {
  #node;
  #id;
  #names;
  #changed;
  #tags;

  constructor(node, id, names, tags, { changed = () => {}, signal } = {}) {
    this.#node = node;
    this.#id = id;
    this.#names = names;
    this.#changed = changed;
    this.#tags = tags;
    offer.addEventListener("change", () => this.#show(), { signal });
    this.#show();
  }

  get tags() {
    if (offered === null || offered.may_type) return this.#tags;
    const chosen = this.#chosen;
    return [...(chosen === null ? [] : [chosen]), ...this.#additional];
  }

  set tags(tags) {
    this.#tags = tags;
    this.#show();
  }

  // Why a drawing cannot have these tags, in a sentence; empty if it can.
  get problem() {
    const mustChoose = offered && !offered.may_type && this.#chosen === null;
    return mustChoose ? t("tagging.choose-first") : problemWith(this.tags);
  }

  focus() {
    this.#node.querySelector("input, select")?.focus();
  }

  // Takes over the tags that the server has saved under other names than they were sent by.
  rename(sent, saved) {
    const earlier = this.#tags.filter((tag) => sent.includes(tag) && !saved.includes(tag));
    if (!earlier.length) return;
    const now = saved.filter((tag) => !sent.includes(tag));
    this.tags = [...new Set([...this.#tags.filter((tag) => !earlier.includes(tag)), ...now])];
    this.#changed(this.tags);
  }

  get #chosen() {
    const { tags } = offered;
    if (tags.length < 2) return tags[0] ?? UNTAGGED;
    return this.#tags.find((tag) => tags.includes(tag)) ?? null;
  }

  get #additional() {
    return this.#tags.filter((tag) => ADDITIONAL.includes(tag));
  }

  #show() {
    if (offered === null) return;
    const hadFocus = this.#node.contains(document.activeElement);
    this.#node.replaceChildren(...(offered.may_type ? this.#text() : this.#choice()));
    if (hadFocus) this.focus();
  }

  #text() {
    const field = document.createElement("input");
    field.autocomplete = "off";
    field.enterKeyHint = "done";
    field.maxLength = 400;
    field.placeholder = t("tagging.example");
    field.value = this.#tags.join(", ");
    // With each letter, for not every way of leaving a page ends the typing first.
    field.addEventListener("input", () => this.#changed((this.#tags = tagsIn(field.value))));
    field.addEventListener("keydown", (event) => event.key === "Enter" && field.blur());
    const parts = [named(this.#id, this.#names.many, field)];
    if (offered.tags.length) {
      const list = document.createElement("datalist");
      list.id = `${this.#id}-offered`;
      list.append(...offered.tags.map((tag) => new Option(tag, tag)));
      field.setAttribute("list", list.id);
      parts.push(list);
    }
    return parts;
  }

  #choice() {
    if (offered.tags.length < 2) {
      const text = document.createElement("p");
      text.className = "tag";
      const name = document.createElement("strong");
      name.textContent = this.tags.join(", ");
      text.append(`${t("tagging.tag")} `, name);
      return offered.tags.length ? [text] : [];
    }
    const field = document.createElement("select");
    if (this.#chosen === null) field.append(new Option(t("tagging.choose"), ""));
    field.append(...offered.tags.map((tag) => new Option(tag, tag)));
    field.value = this.#chosen ?? "";
    field.addEventListener("change", () => {
      this.#tags = [field.value, ...this.#additional];
      field.querySelector("[value='']")?.remove();
      this.#changed(this.#tags);
    });
    return [named(this.#id, this.#names.one, field)];
  }
}
