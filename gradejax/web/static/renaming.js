// Renames a tag on all drawings, or merges two, in a dialog of the page Browse.

import { t } from "./language.js";
import { ask, reason } from "./server.js";

const BOTH_EXIST = 409;

const element = (name) => document.getElementById(name ? `renaming-${name}` : "renaming");

// Sends `body` until no drawings are left to change; the server changes some at a time. Returns the last answer, with
// all that changed.
async function finish(path, body, progress) {
  let changed = 0;
  for (;;) {
    const answer = await ask(path, body);
    changed += answer.changed;
    if (!answer.left || !answer.changed) return { ...answer, changed };
    progress(t("browse.changed-so-far", { done: changed, total: changed + answer.left }));
  }
}

// Wires the dialog to the buttons in `counts`. The rest is the gallery's: its filters and edits, how it makes a change,
// fills itself anew, and says something.
export function wireRenaming(counts, { filters, edits, change, show, say: sayInGallery }) {
  let question = null; // [from, to] that the server has asked about: both exist

  const say = (text, isError = false) => {
    element("note").textContent = text;
    element("note").classList.toggle("warn", isError);
  };
  const begin = () => {
    question = null;
    element("submit").textContent = t("rename.rename");
    say("");
  };

  async function rename() {
    const [from, to] = [element("from").value.trim(), element("to").value.trim()];
    const merge = question !== null && question[0] === from && question[1] === to;
    element("submit").disabled = true;
    try {
      const { changed, undo: token } = await finish("api/tags/rename", { from, to, merge }, say);
      element().close();
      await change(async () => {
        filters.renameTag(from, to);
        await show();
        edits.made(async () => {
          const back = await finish("api/tags/undo", { undo: token }, sayInGallery);
          filters.renameTag(to, from);
          await show();
          return back.changed;
        });
        return t("rename.renamed", { from, to, n: changed });
      });
      // The button that opened the dialog is gone with the tag.
      counts.querySelector(`[data-rename="${CSS.escape(to)}"]`)?.focus({ preventScroll: true });
      document.getElementById("note").scrollIntoView({ block: "nearest" });
    } catch (error) {
      say(reason(error), error.status !== BOTH_EXIST);
      if (error.status !== BOTH_EXIST) return;
      question = [from, to];
      element("submit").textContent = t("rename.merge");
    } finally {
      element("submit").disabled = false;
    }
  }

  counts.addEventListener("click", ({ target }) => {
    const tag = target.closest("[data-rename]")?.dataset.rename;
    if (tag === undefined) return;
    begin();
    element("from").value = tag;
    element("to").value = "";
    element().showModal();
    element(tag ? "to" : "from").focus();
  });
  element("form").addEventListener("input", begin);
  element("form").addEventListener("submit", (event) => {
    event.preventDefault();
    rename();
  });
  element("cancel").addEventListener("click", () => element().close());
}
