// The training that is going on: begun here, followed live, cancelled here. The server keeps it; this page only looks.

import { tagsIn } from "./drawings.js";
import { decimal, number, percent, t } from "./language.js";
import { note } from "./note.js";
import { curves } from "./plots.js";
import { ask, reason } from "./server.js";

const POLL = 1000; // milliseconds, while something is trained
const REST = 10000; // else: somebody may begin a training on another page

const element = (id) => document.getElementById(id);
const RECIPES = { best: t("recipe.best"), cnn: t("recipe.cnn"), fast: t("recipe.fast"), mlp: t("recipe.mlp") };
const PHASES = {
  preparing: t("training.preparing"), training: t("training.first-epoch"), evaluating: t("training.evaluating"),
};

function duration(seconds) {
  if (seconds < 90) return `${number(Math.ceil(seconds))} s`;
  return seconds < 5400 ? `${number(Math.round(seconds / 60))} min` : `${decimal(seconds / 3600, 1)} h`;
}

function what({ run, starts_from_shipped, tags }) {
  const training = starts_from_shipped ? t("training.run-from-shipped", { run }) : t("training.run", { run });
  return tags.length ? `${training} · ${t("training.tagged", { tags: tags.join(", ") })}` : training;
}

function describe({ phase, history, epochs, seconds_left }) {
  if (phase === "evaluating" || !history.length) return PHASES[phase];
  const values = { epoch: history.length, epochs, share: percent(history.at(-1).val_accuracy, 1) };
  if (seconds_left === null) return t("training.epoch", values);
  return t("training.epoch-and-left", { ...values, left: duration(seconds_left) });
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
    element("recipe-about").textContent = RECIPES[recipe.value] ?? about;
    start.parentElement.hidden = !fits_shipped;
  }

  #show(training) {
    const before = this.#run;
    this.#run = training.run;
    element("training").hidden = !training.run;
    element("order").hidden = element("recipe-about").hidden = Boolean(training.run);
    if (training.run) {
      if (training.run !== before) this.#resetCancel();
      element("training-what").textContent = what(training);
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
    element("cancel").textContent = t("training.cancel");
    element("cancel").disabled = false;
  }

  // The first click asks, the second confirms.
  async #cancel() {
    const button = element("cancel");
    if (!button.dataset.asked) {
      button.dataset.asked = "true";
      button.textContent = t("training.really-cancel");
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
