// The access code, from the QR code's address (behind the #, which no server sees) or typed in.

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
    if (response.ok) {
      location.replace(location.pathname);
    } else {
      refusal.textContent = (await response.json()).detail;
      code.select();
    }
  } catch {
    refusal.textContent = "The server cannot be reached. Try again.";
  }
}

document.getElementById("form").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn();
});

const carried = new URLSearchParams(location.hash.slice(1)).get("code");
if (carried) {
  history.replaceState(null, "", location.pathname);
  code.value = carried;
  signIn();
}
