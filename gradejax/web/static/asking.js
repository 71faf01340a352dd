// A question in a dialog of its own, about something that nobody can undo.

let asked = 0; // for the ids of a dialog's parts

function node(tag, text, ...classes) {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = classes.join(" ");
  return made;
}

// Resolves to whether the visitor said yes. `title` asks, `lines` explain, `yes` and `no` are what the buttons say.
// `extra`: a node between them, such as a choice. `isSecond`: the buttons change places, so that a finger that taps
// twice says no. `typed`: a number that must be typed, as `label` says, before yes can be said.
export function agrees({ title, lines, yes, no, extra, isSecond = false, typed = null }) {
  const dialog = node("dialog", "", "asking");
  const id = `asking-${++asked}`;
  const heading = node("h2", title);
  heading.id = `${id}-title`;
  const text = node("div", "");
  text.id = `${id}-text`;
  text.append(...lines.map((line) => node("p", line)));
  dialog.setAttribute("aria-labelledby", heading.id);
  dialog.setAttribute("aria-describedby", text.id);
  const form = node("form", "");
  form.method = "dialog";
  const refuse = node("button", no, "main");
  refuse.type = "button";
  const accept = node("button", yes);
  const choices = node("div", "", "choices");
  choices.append(...(isSecond ? [accept, refuse] : [refuse, accept]));
  form.append(heading, text);
  if (extra) form.append(extra);
  if (typed) form.append(numberField(typed, accept));
  form.append(choices);
  dialog.append(form);
  document.body.append(dialog);
  return new Promise((resolve) => {
    let answer = false;
    refuse.addEventListener("click", () => dialog.close());
    form.addEventListener("submit", () => (answer = true));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    dialog.showModal();
    (typed ? form.querySelector("input:not([type=checkbox])") : refuse).focus();
  });
}

function numberField({ number, label }, accept) {
  const field = document.createElement("input");
  field.inputMode = "numeric";
  field.autocomplete = "off";
  const named = node("label", label);
  named.append(field);
  accept.disabled = true; // Enter does nothing meanwhile
  field.addEventListener("input", () => (accept.disabled = field.value.replace(/[\s.,]/g, "") !== String(number)));
  return named;
}
