// Ends the session, for every copy of its cookie. Unsent drawings stay in this browser: they belong to the visitor.

import { t } from "./language.js";
import { note } from "./note.js";

const button = document.getElementById("sign-out");

button.addEventListener("click", async () => {
  const response = await fetch("sign-out", { method: "POST" }).catch(() => null);
  if (response?.ok || response?.status === 401) location.replace("./");
  else note(t("bar.still-signed-in"), true);
});
button.disabled = false;
