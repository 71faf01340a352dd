// The line on each page that says what happened; screen readers announce it.

// Text between `backquotes` is shown as code.
export function note(text, warn = false) {
  const line = document.getElementById("note");
  const parts = text.split("`").map((part, i) => {
    if (i % 2 === 0) return part;
    const code = document.createElement("code");
    code.textContent = part;
    return code;
  });
  line.replaceChildren(...parts);
  line.classList.toggle("warn", warn);
}
