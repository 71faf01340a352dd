// The tags that a class may choose from: the teacher offers and withdraws them, in a dialog of the page Class.

import { t } from "./language.js";
import { ask, reason } from "./server.js";

const element = (id) => document.getElementById(id);
let offered = { tags: [], free: false };
let before = null; // what Undo offers again

function about({ tags, free }) {
  if (free) return tags.length ? t("offering.some-and-free") : t("offering.none-but-free");
  if (tags.length > 1) return t("offering.some");
  return tags.length ? t("offering.one") : t("offering.none");
}

function show({ tags, free }) {
  offered = { tags, free };
  element("offering-about").textContent = about(offered);
  element("offered").replaceChildren(...tags.map(row));
  element("offered").hidden = !tags.length;
  element("free-tags").checked = free;
}

function row(tag) {
  const node = document.createElement("li");
  const name = document.createElement("span");
  name.textContent = tag;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = t("offering.withdraw");
  button.ariaLabel = t("offering.withdraw-tag", { tag });
  button.addEventListener("click", () => {
    const tags = offered.tags.filter((one) => one !== tag);
    change({ ...offered, tags }, t("offering.withdrawn", { tag }));
  });
  node.append(name, button);
  return node;
}

function say(text, isError = false) {
  element("offering-note").textContent = text;
  element("offering-note").classList.toggle("warn", isError);
  element("offering-undo").hidden = before === null;
}

// Offers other tags; `undo` is what Undo offers again, if anything. The focus goes to the field for the next one, unless
// it can stay where it is. Returns whether all went well.
async function change(wanted, said, undo = offered) {
  try {
    show(await ask("api/tags", wanted));
    before = undo;
    say(said);
    if (!element("offering").contains(document.activeElement) || document.activeElement === element("offering-undo")) {
      element("new-tag").focus();
    }
    return true;
  } catch (error) {
    show(offered);
    say(reason(error), true);
    return false;
  }
}

async function open() {
  before = null;
  say("");
  element("offering").showModal();
  element("new-tag").focus();
  try {
    show(await ask("api/tags"));
  } catch (error) {
    say(reason(error), true);
  }
}

element("offering-rename").textContent = t("offering.rename-or-merge", { counts: t("counts.title") });
element("offer-tags").addEventListener("click", open);
element("offer-tags").disabled = false;
element("offering-close").addEventListener("click", () => element("offering").close());
element("offering-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const tag = element("new-tag").value.trim();
  if (!tag) return;
  if (offered.tags.includes(tag)) return say(t("offering.offered-already", { tag }));
  const tags = [...offered.tags, tag];
  if (await change({ ...offered, tags }, t("offering.offered-now", { tag }))) element("new-tag").value = "";
});
element("free-tags").addEventListener("change", ({ target }) => {
  const said = target.checked ? t("offering.free-now") : t("offering.only-choose-now");
  change({ ...offered, free: target.checked }, said);
});
element("offering-undo").addEventListener("click", () => change(before, t("offering.as-before"), null));
