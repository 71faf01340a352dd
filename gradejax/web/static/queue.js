// Drawings on their way to the store. They wait in IndexedDB, so that neither a lost connection nor a closed
// page loses one; the server knows a drawing that it has already, so each may be sent again.

import { newId, sendable } from "/static/drawings.js";
import { ask, reason, Refusal } from "/static/server.js";

export const NOT_KEPT = "This browser keeps nothing for this page: leave the tab open until all is saved.";

const FIRST_PAUSE = 1000; // milliseconds
const LONGEST_PAUSE = 30000;
const PATIENCE = 20000;
const OPENING = 5000;
const TAKEN = 409; // the id, by another drawing
const BROKEN = 500; // perhaps by this drawing: the others come first

// An IDBRequest, or a transaction, as a promise.
function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = request.oncomplete = () => resolve(request.result);
    request.onerror = request.onabort = () => reject(request.error);
  });
}

// Throws where the browser grants no storage, and where it says nothing.
async function openShelf() {
  const request = indexedDB.open("gradejax", 1);
  request.onupgradeneeded = () => request.result.createObjectStore("waiting", { keyPath: "id" });
  const silence = new Promise((_, reject) => setTimeout(reject, OPENING));
  const database = await Promise.race([settled(request), silence]);
  const change = async (act) => {
    const transaction = database.transaction("waiting", "readwrite");
    const result = await act(transaction.objectStore("waiting"));
    await settled(transaction);
    return result;
  };
  return {
    put: (drawing) => change((waiting) => void waiting.put(drawing)),
    // In one transaction: where another tab was quicker, nothing is done.
    replace: (id, drawing) =>
      change(async (waiting) => {
        if ((await settled(waiting.getKey(id))) === undefined) return false;
        waiting.delete(id);
        if (drawing) waiting.put(drawing);
        return true;
      }),
    all: () => settled(database.transaction("waiting").objectStore("waiting").getAll()),
  };
}

// As long as the page is open: where the browser grants no storage, or has no more.
function openPocket() {
  const waiting = new Map();
  return {
    put: (drawing) => void waiting.set(drawing.id, drawing),
    replace(id, drawing) {
      if (drawing && waiting.has(id)) waiting.set(drawing.id, drawing);
      return drawing?.id === id ? waiting.has(id) : waiting.delete(id);
    },
    all: () => [...waiting.values()],
    isEmpty: () => waiting.size === 0,
  };
}

// Events: "saved" after each drawing that the store has; "change" when `waiting`, `refused` or `trouble` did.
export class Queue extends EventTarget {
  waiting = 0;
  refused = []; // {drawing, error}: what the server will not take; kept, and tried again with the next page
  trouble = null; // the error that stands in the way, until a drawing gets through
  isKept; // resolves to whether a drawing outlives the page
  #shelf; // null where there is none
  #pocket = openPocket();
  #errors = new Map(); // by id, of what is refused
  #renamed = new Set(); // ids that came instead of others that were taken
  #failures = new Map(); // by id: what broke the server most often is tried last
  #asked = false;
  #sending = false;
  #pause = FIRST_PAUSE;
  #timer;

  constructor() {
    super();
    this.#shelf = openShelf().catch(() => null);
    this.isKept = this.#shelf.then(Boolean);
    addEventListener("online", () => this.send());
    addEventListener("beforeunload", (event) => this.#pocket.isEmpty() || event.preventDefault());
    this.send();
  }

  // Resolves when the drawing is as safe as this browser allows; it is sent by itself.
  async add(drawing) {
    try {
      await (await this.#shelf).put(drawing);
    } catch {
      this.#pocket.put(drawing);
    }
    this.waiting++;
    this.dispatchEvent(new Event("change"));
    this.send();
  }

  // Other tags for drawings that were refused, which are then sent again.
  async retag(ids, tags) {
    for (const { drawing } of this.refused.filter(({ drawing }) => ids.includes(drawing.id))) {
      await this.#replace(drawing.id, { ...drawing, tags });
      this.#errors.delete(drawing.id);
    }
    await this.send();
  }

  async discard(ids) {
    for (const id of ids) await this.#replace(id, null);
    await this.#count();
  }

  // What stands in the way of drawings that wait, in a sentence; empty where nothing does.
  get notice() {
    if (!this.waiting || !this.trouble) return "";
    const drawings = this.waiting === 1 ? "1 drawing waits" : `${this.waiting} drawings wait`;
    const where = this.#pocket.isEmpty() ? "in this browser" : "in this tab, which must stay open";
    return `${drawings} ${where}, to be sent again. ${reason(this.trouble)}`;
  }

  async send() {
    this.#asked = true; // also of a round that is under way and has seen what there was
    if (this.#sending) return;
    this.#sending = true;
    clearTimeout(this.#timer);
    try {
      while (this.#asked) {
        this.#asked = false;
        for (const drawing of await this.#unsent()) await this.#deliver(drawing);
      }
      this.#pause = FIRST_PAUSE;
      this.trouble = null;
    } catch (error) {
      this.trouble = error;
      // Apart from each other, lest a whole class comes back in the same moment.
      this.#timer = setTimeout(() => this.send(), this.#pause * (0.5 + Math.random() / 2));
      this.#pause = Math.min(LONGEST_PAUSE, 2 * this.#pause);
    } finally {
      this.#sending = false;
      await this.#count();
    }
  }

  async #deliver(drawing) {
    try {
      await ask("/api/drawings", sendable(drawing), AbortSignal.timeout(PATIENCE));
    } catch (error) {
      if (!(error instanceof Refusal) || !error.isFinal) {
        if (error.status === BROKEN) this.#failures.set(drawing.id, (this.#failures.get(drawing.id) ?? 0) + 1);
        throw error;
      }
      if (error.status === TAKEN && !this.#renamed.has(drawing.id)) {
        const renamed = { ...drawing, id: newId() };
        this.#renamed.add(renamed.id);
        await this.#replace(drawing.id, renamed);
        this.#asked = true;
      } else {
        this.#errors.set(drawing.id, error);
      }
      return;
    }
    this.trouble = null;
    // Another tab may have sent it, too.
    if (!(await this.#replace(drawing.id, null))) return;
    this.waiting--;
    this.dispatchEvent(new CustomEvent("saved", { detail: drawing }));
  }

  async #all() {
    const kept = await this.#shelf.then((shelf) => shelf?.all() ?? []).catch(() => []);
    return [...kept, ...this.#pocket.all()];
  }

  async #unsent() {
    const failures = ({ id }) => this.#failures.get(id) ?? 0;
    return (await this.#all())
      .filter(({ id }) => !this.#errors.has(id))
      .sort((a, b) => failures(a) - failures(b) || Date.parse(a.date) - Date.parse(b.date));
  }

  // Whether there was a drawing of that id to be replaced, or removed where `drawing` is null.
  async #replace(id, drawing) {
    const shelf = await this.#shelf;
    return (await shelf?.replace(id, drawing)) || this.#pocket.replace(id, drawing);
  }

  async #count() {
    const all = (await this.#all()).sort((a, b) => Date.parse(a.date) - Date.parse(b.date));
    this.refused = all.flatMap((drawing) => {
      const error = this.#errors.get(drawing.id);
      return error ? [{ drawing, error }] : [];
    });
    this.waiting = all.length - this.refused.length;
    this.dispatchEvent(new Event("change"));
  }
}
