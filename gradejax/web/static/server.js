// Talking to the server.

export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }

  // Whether asking again would not help: neither signing in, nor waiting.
  get isFinal() {
    return this.status >= 400 && this.status < 500 && ![401, 408, 429].includes(this.status);
  }
}

// GET, or POST where there is a body. Throws a Refusal for an answer that is none, and fetch's errors.
export async function ask(path, body, signal) {
  const options = { signal };
  if (body !== undefined) {
    options.method = "POST";
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options);
  if (response.ok) return response.json();
  const { detail } = await response.json().catch(() => ({ detail: `The server answered ${response.status}.` }));
  throw new Refusal(response.status, detail);
}

// What the server says in a terminal's style, as a sentence.
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (text.endsWith(".") ? "" : ".");

// For a note on the page: why `error` happened, in a sentence.
export function reason(error) {
  if (!(error instanceof Refusal)) return "The server cannot be reached.";
  if (error.status === 401) return "Signed out: reload the page and enter the access code.";
  return sentence(error.message);
}

// Whoever is signed in already and scans the code again: it does not stay in the address.
// Replaced by a navigation, for what history.replaceState replaces is still listed in the browser's history.
if (location.hash.startsWith("#code=")) location.replace(location.pathname);
