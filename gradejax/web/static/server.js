// Requests to the server.

import { t } from "./language.js";

export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }

  // Whether sending again is useless, even after signing in or waiting.
  get isFinal() {
    return this.status >= 400 && this.status < 500 && ![401, 408, 429].includes(this.status);
  }
}

async function answer(path, options) {
  const response = await fetch(path, options);
  if (response.ok) return response;
  const { detail } = await response.json().catch(() => ({ detail: t("reply.status", { status: response.status }) }));
  throw new Refusal(response.status, detail);
}

// GET, or POST if there is a body. Throws a Refusal for a status of 400 or more, and fetch's errors.
export async function ask(path, body, signal) {
  const options = { signal };
  if (body !== undefined) {
    options.method = "POST";
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  return (await answer(path, options)).json();
}

// GET of a file, with the name that the server gives it. Throws as `ask` does.
export async function askFile(path) {
  const response = await answer(path);
  const name = decodeURIComponent(response.headers.get("Content-Disposition").split("''")[1]);
  const content = await response.blob();
  return new File([content], name, { type: content.type });
}

// Makes a sentence of a message in the style of a terminal.
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (text.endsWith(".") ? "" : ".");

// The reason for `error`, as a sentence for the page.
export function reason(error) {
  if (!(error instanceof Refusal)) return t("reply.unreachable");
  if (error.status === 401) return t("reply.signed-out");
  return sentence(error.message);
}

// If somebody already signed in scans the code again, it must not stay in the address. A navigation, because the
// browser's history still lists addresses that history.replaceState replaces.
if (location.hash.startsWith("#code=")) location.replace(location.pathname);
