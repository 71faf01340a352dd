// Drawings on their way to the store. They wait in IndexedDB, so that neither a lost connection nor a closed page
// loses one. The server recognises a drawing that it already has, so each may be sent again.

import { newId, sendable } from "./drawings.js";
import { t } from "./language.js";
import { ask, reason, Refusal } from "./server.js";

export const NOT_KEPT = t("queue.not-kept");

const FIRST_PAUSE = 1000; // milliseconds
const LONGEST_PAUSE = 30000;
const PATIENCE = 20000;
const OPEN_TIMEOUT = 5000;
const ID_TAKEN = 409;
const ERASED = 410; // while it was on its way
const SERVER_ERROR = 500; // perhaps caused by this drawing: the others are sent first

// Turns an IDBRequest or a transaction into a promise.
function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = request.oncomplete = () => resolve(request.result);
    request.onerror = request.onabort = () => reject(request.error);
  });
}

// Opens the IndexedDB storage. Throws if the browser denies it, or does not respond.
async function openDisk() {
  const request = indexedDB.open("gradejax", 1);
  request.onupgradeneeded = () => request.result.createObjectStore("waiting", { keyPath: "id" });
  const timeout = new Promise((_, reject) => setTimeout(reject, OPEN_TIMEOUT));
  const database = await Promise.race([settled(request), timeout]);
  const change = async (act) => {
    const transaction = database.transaction("waiting", "readwrite");
    const result = await act(transaction.objectStore("waiting"));
    await settled(transaction);
    return result;
  };
  return {
    put: (drawing) => change((waiting) => void waiting.put(drawing)),
    // In one transaction; does nothing if another tab was faster.
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

// Lasts as long as the page is open: for a browser that denies storage, or has none left.
function openMemory() {
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

// Events: "saved" for each drawing once it is in the store, and before that "renamed", with the tags {sent, saved}, if the
// teacher has renamed some; "taken" when one that was is taken back; "kept", with the
// reason, if it cannot be; "change" when `waiting`, `refused` or `trouble` changes.
export class Queue extends EventTarget {
  waiting = 0;
  refused = []; // {drawing, error}: drawings that the server refused; kept, and tried again by the next page
  trouble = null; // the error that keeps drawings waiting, until one gets through
  held = new Set(); // ids of saved drawings that look like no grade, and wait for the teacher
  isKept; // a promise: whether drawings survive closing the page
  #disk; // a promise; of null if there is none
  #memory = openMemory();
  #errors = new Map(); // by id, of refused drawings
  #renamed = new Set(); // ids that replaced ones already taken
  #tried = new Set(); // ids of drawings that the server may have
  #unwanted = new Set(); // ids of drawings that are taken back
  #failures = new Map(); // server errors by id; drawings with most are sent last
  #again = false;
  #sending = false;
  #pause = FIRST_PAUSE;
  #timer;

  constructor() {
    super();
    this.#disk = openDisk().catch(() => null);
    this.isKept = this.#disk.then(Boolean);
    addEventListener("online", () => this.send());
    addEventListener("beforeunload", (event) => this.#memory.isEmpty() || event.preventDefault());
    this.send();
  }

  // Resolves when the drawing is as safe as this browser allows; it is sent in the background.
  async add(drawing) {
    await this.#put(drawing);
    this.waiting++;
    this.dispatchEvent(new Event("change"));
    this.send();
  }

  // Takes a drawing back, wherever it is by now. One that the server may have is sent again, for the receipt that
  // taking it back needs; this waits for a connection as saving does.
  async takeBack(drawing) {
    const waits = await this.#replace(drawing.id, null);
    if (!waits || this.#tried.has(drawing.id)) {
      this.#unwanted.add(drawing.id);
      await this.#put({ ...drawing, unwanted: true });
    }
    if (!waits) this.dispatchEvent(new CustomEvent("taken", { detail: drawing }));
    await this.#count();
    this.send();
  }

  // Gives refused drawings other tags, and sends them again.
  async retag(ids, tags) {
    for (const { drawing } of this.refused.filter(({ drawing }) => ids.includes(drawing.id))) {
      await this.#replace(drawing.id, { ...drawing, tags });
      this.#errors.delete(drawing.id);
    }
    await this.send();
  }

  // The drawings that wait or were refused, also those of earlier pages.
  async kept() {
    return (await this.#all()).filter(({ unwanted }) => !unwanted);
  }

  async discard(ids) {
    for (const id of ids) await this.#replace(id, null);
    await this.#count();
  }

  // Why drawings are still waiting, for people; empty if none are.
  get notice() {
    if (!this.waiting || !this.trouble) return "";
    const advice = this.#memory.isEmpty() ? [] : [t("queue.keep-open")];
    return [t("queue.waiting", { n: this.waiting }), ...advice, reason(this.trouble)].join(" ");
  }

  async send() {
    this.#again = true; // also if a round is in progress, which may have read the list already
    if (this.#sending) return;
    this.#sending = true;
    clearTimeout(this.#timer);
    try {
      while (this.#again) {
        this.#again = false;
        for (const drawing of await this.#unsent()) await this.#deliver(drawing);
      }
      this.#pause = FIRST_PAUSE;
      this.trouble = null;
    } catch (error) {
      this.trouble = error;
      // With jitter, or a whole class would retry at the same moment.
      this.#timer = setTimeout(() => this.send(), this.#pause * (0.5 + Math.random() / 2));
      this.#pause = Math.min(LONGEST_PAUSE, 2 * this.#pause);
    } finally {
      this.#sending = false;
      await this.#count();
    }
  }

  async #put(drawing) {
    try {
      await (await this.#disk).put(drawing);
    } catch {
      this.#memory.put(drawing);
    }
  }

  async #deliver({ unwanted, ...drawing }) {
    const isUnwanted = () => unwanted || this.#unwanted.has(drawing.id); // also while it is being sent
    this.#tried.add(drawing.id);
    let saved; // the tags, as the server knows them
    try {
      const answer = await ask("api/drawings", sendable(drawing), AbortSignal.timeout(PATIENCE));
      const { id, receipt } = answer;
      saved = answer.tags;
      if (answer.in_quarantine) this.held.add(id);
      if (isUnwanted()) await ask("api/drawings/take-back", { id, receipt }, AbortSignal.timeout(PATIENCE));
    } catch (error) {
      if (!(error instanceof Refusal) || !error.isFinal) {
        if (error.status === SERVER_ERROR) this.#failures.set(drawing.id, (this.#failures.get(drawing.id) ?? 0) + 1);
        throw error;
      }
      if (error.status === ERASED) {
        await this.#replace(drawing.id, null);
      } else if (isUnwanted()) {
        await this.#replace(drawing.id, null);
        this.dispatchEvent(new CustomEvent("kept", { detail: reason(error) }));
      } else if (error.status === ID_TAKEN && !this.#renamed.has(drawing.id)) {
        const renamed = { ...drawing, id: newId() };
        this.#renamed.add(renamed.id);
        await this.#replace(drawing.id, renamed);
        this.#again = true;
      } else {
        this.#errors.set(drawing.id, error);
      }
      return;
    }
    this.trouble = null;
    // Another tab may have sent it as well.
    if (!(await this.#replace(drawing.id, null)) || isUnwanted()) return;
    this.waiting--;
    const isRenamed = saved.join() !== drawing.tags.join();
    if (isRenamed) this.dispatchEvent(new CustomEvent("renamed", { detail: { sent: drawing.tags, saved } }));
    this.dispatchEvent(new CustomEvent("saved", { detail: { ...drawing, tags: saved } }));
  }

  async #all() {
    const stored = await this.#disk.then((disk) => disk?.all() ?? []).catch(() => []);
    return [...stored, ...this.#memory.all()];
  }

  async #unsent() {
    const failures = ({ id }) => this.#failures.get(id) ?? 0;
    return (await this.#all())
      .filter(({ id }) => !this.#errors.has(id))
      .sort((a, b) => failures(a) - failures(b) || Date.parse(a.date) - Date.parse(b.date));
  }

  // Replaces the drawing of that id, or removes it if `drawing` is null; resolves to whether there was one.
  async #replace(id, drawing) {
    const disk = await this.#disk;
    return (await disk?.replace(id, drawing)) || this.#memory.replace(id, drawing);
  }

  async #count() {
    const all = (await this.#all()).sort((a, b) => Date.parse(a.date) - Date.parse(b.date));
    this.refused = all.flatMap((drawing) => {
      const error = this.#errors.get(drawing.id);
      return error ? [{ drawing, error }] : [];
    });
    this.waiting = all.filter(({ id, unwanted }) => !this.#errors.has(id) && !unwanted).length;
    this.dispatchEvent(new Event("change"));
  }
}
