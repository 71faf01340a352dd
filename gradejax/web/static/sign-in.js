// The access code, from the QR code's address (behind the #, which no server sees) or typed in.

// Before anything else: it does not stay in the address, nor where the browser remembers addresses.
const carried = new URLSearchParams(location.hash.slice(1)).get("code");
if (location.hash) history.replaceState(null, "", location.pathname);

const code = document.getElementById("code");
const refusal = document.getElementById("refusal");

async function signIn() {
  refusal.textContent = "";
  try {
    const response = await fetch("/sign-in", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ code: code.value }),
    });
    if (response.ok) return location.replace(location.pathname);
    refusal.textContent = (await response.json()).detail;
    const again = Number(response.headers.get("Retry-After"));
    if (again) setTimeout(signIn, 1000 * again);
    else code.select();
  } catch {
    refusal.textContent = "The server cannot be reached. Try again.";
  }
}

document.getElementById("form").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn();
});

if (carried) {
  code.value = carried;
  signIn();
}
