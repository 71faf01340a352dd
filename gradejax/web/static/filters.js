// The gallery's filters: in a form, in the page's address, and as the server's query.

const NAMES = ["tag", "label", "guess", "writer", "since", "until", "aside", "by"];

// The form has days in local time; the server expects times in UTC.
function startOfDay(text, daysLater) {
  const [year, month, day] = text.split("-").map(Number);
  return new Date(year, month - 1, day + daysLater).toISOString();
}

export class Filters {
  #form;

  // Fills the form from the address.
  constructor(form) {
    this.#form = form;
    const asked = new URLSearchParams(location.search);
    for (const name of NAMES) {
      const [field, value] = [form.elements[name], asked.get(name)];
      if (value === null) continue;
      if (name === "tag") this.offerTags([value]);
      field.value = value;
      if (field.selectedIndex === -1) field.selectedIndex = 0; // the address has a value that there is not
    }
    if (this.guess) form.elements.by.value = "disagreement";
  }

  // Only a ranking knows what the model takes a drawing for.
  changed({ target }) {
    const { guess, by } = this.#form.elements;
    if (target === guess && guess.value) by.value = "disagreement";
    if (target === by && by.value === "date") guess.value = "";
  }

  get tag() {
    return this.#form.elements.tag.value;
  }

  get guess() {
    return this.#form.elements.guess.value;
  }

  get showsExcluded() {
    return Boolean(this.#form.elements.aside.value);
  }

  get showsQuarantine() {
    return this.#form.elements.aside.value === "quarantine";
  }

  // All drawings that wait for the teacher.
  showQuarantine() {
    this.#form.reset();
    this.#form.elements.aside.value = "quarantine";
  }

  // Whether a drawing with this label matches, for all that the label says.
  has(label) {
    const { value } = this.#form.elements.label;
    return !value || value === label;
  }

  get isRanked() {
    return this.#form.elements.by.value === "disagreement";
  }

  get writer() {
    return this.#form.elements.writer.value.trim();
  }

  set writer(writer) {
    this.#form.elements.writer.value = writer;
  }

  // Which drawings, as the server's query; without the order and what depends on it.
  query() {
    const query = new URLSearchParams();
    const { tag, label, writer, since, until, aside } = this.#values();
    for (const [name, value] of Object.entries({ tag, label, writer, aside })) if (value) query.set(name, value);
    if (since) query.set("since", startOfDay(since, 0));
    if (until) query.set("until", startOfDay(until, 1));
    return query;
  }

  // Which drawings and in which order.
  sortedQuery() {
    const query = this.query();
    if (this.guess) query.set("guess", this.guess);
    query.set("by", this.isRanked ? "disagreement" : "date");
    return query;
  }

  // Keeps the filters in the address: a reload, a bookmark and the way back lead to the same drawings.
  keepInAddress() {
    const kept = new URLSearchParams();
    for (const [name, value] of Object.entries(this.#values())) if (value && value !== "date") kept.set(name, value);
    const search = String(kept);
    history.replaceState(null, "", location.pathname + (search && `?${search}`));
  }

  // Offers `tags`, in their order, and the chosen one.
  offerTags(tags) {
    const field = this.#form.elements.tag;
    const chosen = field.value;
    const names = chosen && !tags.includes(chosen) ? [...tags, chosen] : tags;
    // Not while they are the same: a list that is open would close.
    if (names.join("\n") === [...field.options].slice(1).map(({ value }) => value).join("\n")) return;
    field.replaceChildren(field.options[0], ...names.map((name) => new Option(name, name)));
    field.value = chosen;
  }

  leaveTag() {
    this.#form.elements.tag.value = "";
  }

  // Goes on filtering by a tag that has another name now.
  renameTag(from, to) {
    if (this.tag !== from) return;
    this.#form.elements.tag.append(new Option(to, to));
    this.#form.elements.tag.value = to;
  }

  #values() {
    const values = Object.fromEntries(new FormData(this.#form));
    return { ...values, writer: values.writer.trim() };
  }
}
