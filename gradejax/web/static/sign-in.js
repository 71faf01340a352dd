// Signs in with a code, typed in or from the QR code's address (after the #, which no server sees).

import { t } from "./language.js";

// First of all, remove the code from the address and from the browser's history.
const scanned = new URLSearchParams(location.hash.slice(1)).get("code");
if (location.hash) history.replaceState(null, "", location.pathname);

const form = document.getElementById("form");
const code = document.getElementById("code");
const refusal = document.getElementById("refusal");

async function signIn() {
  refusal.textContent = "";
  try {
    const response = await fetch("sign-in", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ code: code.value }),
    });
    const { role, detail } = await response.json();
    const needed = form.dataset.role ?? role; // a page for the teacher needs the teacher's code
    if (response.ok && role === needed) return location.replace(location.pathname);
    refusal.textContent = response.ok ? t("sign-in.pupils-code") : detail;
    const retryAfter = Number(response.headers.get("Retry-After"));
    if (retryAfter) setTimeout(signIn, 1000 * retryAfter);
    else code.select();
  } catch {
    refusal.textContent = t("sign-in.unreachable");
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  signIn();
});

if (scanned) {
  code.value = scanned;
  signIn();
}
