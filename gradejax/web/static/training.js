// The training that is going on: begun here, followed live, cancelled here. The server keeps it; this page only looks.

import { tagsIn } from "./drawings.js";
import { note } from "./note.js";
import { curves } from "./plots.js";
import { ask, reason } from "./server.js";

const POLL = 1000; // milliseconds, while something is trained
const REST = 10000; // else: somebody may begin a training on another page

const element = (id) => document.getElementById(id);
const PHASES = { preparing: "reading and decoding the drawings", training: "compiling, and the first epoch", evaluating: "evaluating" };

function duration(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function describe({ phase, history, epochs, seconds_left }) {
  if (phase === "evaluating" || !history.length) return `${PHASES[phase]} …`;
  const { val_accuracy } = history.at(-1);
  const left = seconds_left === null ? "" : `, ${duration(seconds_left)} left`;
  return `epoch ${history.length} of ${epochs}${left}; ${(100 * val_accuracy).toFixed(1)}% of the validation drawings read`;
}

// Follows trainings, and calls `ended(training)` when one ends.
export class TrainingPanel {
  #recipes = [];
  #timer = 0;
  #run = null;
  #epoch = 0;
  #ended;

  constructor(ended) {
    this.#ended = ended;
    element("order").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#begin();
    });
    element("order").elements.recipe.addEventListener("change", () => this.#describeRecipe());
    element("cancel").addEventListener("click", () => this.#cancel());
    document.addEventListener("visibilitychange", () => document.hidden || this.look());
  }

  offer(recipes) {
    if (this.#recipes.length) return;
    this.#recipes = recipes;
    element("order").elements.recipe.append(...recipes.map(({ name }) => new Option(name, name)));
    if (recipes.some(({ name }) => name === "cnn")) element("order").elements.recipe.value = "cnn"; // the quickest good one
    this.#describeRecipe();
  }

  async look() {
    clearTimeout(this.#timer);
    try {
      this.#show(await ask("api/models/training"));
    } catch (error) {
      note(reason(error), true);
    }
    clearTimeout(this.#timer);
    if (!document.hidden) this.#timer = setTimeout(() => this.look(), this.#run ? POLL : REST);
  }

  #describeRecipe() {
    const { recipe, start } = element("order").elements;
    const { about = "", fits_shipped = false } = this.#recipes.find(({ name }) => name === recipe.value) ?? {};
    element("recipe-about").textContent = about;
    start.parentElement.hidden = !fits_shipped;
  }

  #show(training) {
    const before = this.#run;
    this.#run = training.run;
    element("training").hidden = !training.run;
    element("order").hidden = element("recipe-about").hidden = Boolean(training.run);
    if (training.run) {
      if (training.run !== before) this.#resetCancel();
      const start = training.starts_from_shipped ? " from the shipped recogniser" : "";
      const tags = training.tags.length ? `, drawings tagged ${training.tags.join(", ")}` : "";
      element("training-what").textContent = `Training ${training.run}${start}${tags}`;
      element("training-when").textContent = describe(training);
      const bar = element("training-bar");
      bar.max = training.epochs;
      if (training.history.length) bar.value = training.history.length;
      else bar.removeAttribute("value");
      this.#draw(training);
    } else {
      this.#epoch = 0;
      element("training-curves").replaceChildren();
    }
    if (before && before !== training.run) this.#ended(training);
  }

  #draw({ run, history, epochs }) {
    if (!history.length || history.length === this.#epoch) return;
    this.#epoch = history.length;
    element("training-curves").replaceChildren(curves(history, epochs, run));
  }

  async #begin() {
    const { recipe, start, tags, seed } = element("order").elements;
    const order = {
      recipe: recipe.value,
      tags: tagsIn(tags.value),
      seed: Number(seed.value),
      starts_from_shipped: start.value === "shipped" && !start.parentElement.hidden,
    };
    note("");
    try {
      this.#show(await ask("api/models/training", order));
      element("cancel").focus();
    } catch (error) {
      note(reason(error), true);
    }
    this.look();
  }

  #resetCancel() {
    delete element("cancel").dataset.asked;
    element("cancel").textContent = "Cancel";
    element("cancel").disabled = false;
  }

  // The first click asks, the second confirms.
  async #cancel() {
    const button = element("cancel");
    if (!button.dataset.asked) {
      button.dataset.asked = "true";
      button.textContent = "Cancel this training?";
      return;
    }
    button.disabled = true;
    try {
      await ask("api/models/training/cancel", {});
    } catch (error) {
      note(reason(error), true);
      this.#resetCancel();
    }
    this.look();
  }
}
