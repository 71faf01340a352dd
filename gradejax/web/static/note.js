// The line on each page that says what happened; screen readers announce it.

import { leave } from "./focus.js";

// Text between `backquotes` is shown as code. `offer`, if any, is a button: its `name`, and what it does, `act`.
export function note(text, isError = false, offer = null) {
  const line = document.getElementById("note");
  const parts = text.split("`").map((part, i) => {
    if (i % 2 === 0) return part;
    const code = document.createElement("code");
    code.textContent = part;
    return code;
  });
  if (offer) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "plain";
    button.textContent = offer.name;
    button.addEventListener("click", offer.act);
    parts.push(" ", button);
  }
  leave(line);
  line.replaceChildren(...parts);
  line.classList.toggle("warn", isError);
}
