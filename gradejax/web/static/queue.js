// Drawings on their way to the store. They wait in IndexedDB, so that neither a lost connection nor a closed
// page loses one; the server takes an id that it has already as done, so each may be sent again.

import { ask, reason, Refusal } from "/static/server.js";

const FIRST_PAUSE = 1000; // milliseconds
const LONGEST_PAUSE = 30000;
const PATIENCE = 20000;
const NEVER_TAKEN = [413, 422]; // asking again would not help

// An IDBRequest, or a transaction, as a promise.
function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = request.oncomplete = () => resolve(request.result);
    request.onerror = request.onabort = () => reject(request.error);
  });
}

async function openShelf() {
  const request = indexedDB.open("gradejax", 1);
  request.onupgradeneeded = () => request.result.createObjectStore("waiting", { keyPath: "id" });
  const database = await settled(request);
  const change = async (act) => {
    const transaction = database.transaction("waiting", "readwrite");
    act(transaction.objectStore("waiting"));
    await settled(transaction);
  };
  return {
    put: (drawing) => change((waiting) => waiting.put(drawing)),
    remove: (id) => change((waiting) => waiting.delete(id)),
    all: () => settled(database.transaction("waiting").objectStore("waiting").getAll()),
  };
}

// Where a browser grants no storage (some private windows): as long as the page is open.
function openPocket() {
  const waiting = new Map();
  return {
    put: async (drawing) => void waiting.set(drawing.id, drawing),
    remove: async (id) => void waiting.delete(id),
    all: async () => [...waiting.values()],
  };
}

// Events: "saved" after each drawing that the store has; "change" when `waiting` or `trouble` did.
export class Queue extends EventTarget {
  waiting = 0;
  trouble = null; // the error that stands in the way, until a drawing gets through
  #shelf;
  #refused = new Set(); // ids that the server will not take: kept, and tried again with the next page
  #sending = false;
  #pause = FIRST_PAUSE;
  #timer;

  constructor() {
    super();
    this.#shelf = openShelf().catch(openPocket);
    addEventListener("online", () => this.send());
    this.send();
  }

  // Resolves when the drawing is safe in this browser; it is sent by itself.
  async add(drawing) {
    await (await this.#shelf).put(drawing);
    this.waiting++;
    this.dispatchEvent(new Event("change"));
    this.send();
  }

  // What stands in the way of drawings that wait, in a sentence; empty where nothing does.
  get notice() {
    if (!this.waiting || !this.trouble) return "";
    const drawings = this.waiting === 1 ? "1 drawing waits" : `${this.waiting} drawings wait`;
    const again = this.#refused.size ? "" : ", to be sent again";
    return `${drawings} in this browser${again}. ${reason(this.trouble)}`;
  }

  async send() {
    if (this.#sending) return;
    this.#sending = true;
    clearTimeout(this.#timer);
    const shelf = await this.#shelf;
    const unsent = async () => {
      const drawings = (await shelf.all()).filter(({ id }) => !this.#refused.has(id));
      return drawings.sort((a, b) => Date.parse(a.date) - Date.parse(b.date));
    };
    try {
      for (let drawings = await unsent(); drawings.length; drawings = await unsent()) {
        for (const drawing of drawings) await this.#deliver(drawing, shelf);
      }
      this.#pause = FIRST_PAUSE;
    } catch (error) {
      this.trouble = error;
      // Apart from each other, lest a whole class comes back in the same moment.
      this.#timer = setTimeout(() => this.send(), this.#pause * (0.5 + Math.random() / 2));
      this.#pause = Math.min(LONGEST_PAUSE, 2 * this.#pause);
    } finally {
      this.waiting = (await shelf.all()).length;
      this.#sending = false;
      this.dispatchEvent(new Event("change"));
    }
  }

  async #deliver(drawing, shelf) {
    try {
      await ask("/api/drawings", drawing, AbortSignal.timeout(PATIENCE));
    } catch (error) {
      if (!(error instanceof Refusal) || !NEVER_TAKEN.includes(error.status)) throw error;
      this.#refused.add(drawing.id);
      this.trouble = error;
      return;
    }
    await shelf.remove(drawing.id);
    this.waiting--;
    this.trouble = null;
    this.dispatchEvent(new CustomEvent("saved", { detail: drawing }));
  }
}
