// "Download" of a recogniser: as a page, or as ONNX.

import { t } from "./language.js";
import { note } from "./note.js";
import { askFile, reason } from "./server.js";

const PATIENCE = 60_000; // milliseconds in which a browser reads the file

function save(file) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), PATIENCE);
}

async function download(name, to, button) {
  if (button.ariaBusy) return;
  button.ariaBusy = "true"; // not disabled: it would lose the focus
  note(t("download.making"));
  try {
    const file = await askFile(`api/models/export?${new URLSearchParams({ name, to })}`);
    save(file);
    note(t("download.made", { file: file.name }));
  } catch (error) {
    note(reason(error), true);
    document.getElementById("note").scrollIntoView({ block: "nearest" }); // it may be far above the button
  }
  button.ariaBusy = null;
}

// The buttons for the recogniser called `name`, in a span.
export function downloads(name) {
  const choices = [
    ["page", t("download.page"), t("download.as-page", { run: name })],
    ["onnx", "ONNX", t("download.as-onnx", { run: name })],
  ];
  const span = document.createElement("span");
  span.className = "downloads";
  for (const [to, text, label] of choices) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "plain";
    button.textContent = text;
    button.ariaLabel = label;
    button.addEventListener("click", () => download(name, to, button));
    span.append(button);
  }
  return span;
}

// Offers them in `line` of the gallery; hides it if there is no name.
export function offerDownloads(line, name) {
  line.hidden = !name;
  if (name) line.replaceChildren(t("download.this-model"), downloads(name));
}
