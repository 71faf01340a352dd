// Keeps the focus from falling to the body, where a keyboard or a screen reader would start from the top again.

// Call it before `node` is hidden, disabled or removed.
export function leave(node) {
  if (node.contains(document.activeElement)) document.getElementById("paper")?.focus({ preventScroll: true });
}

export function enable(button, on) {
  if (!on) leave(button);
  button.disabled = !on;
}
