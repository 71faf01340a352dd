// Small values that outlive the page; in a browser that denies storage, only as long as the page is open.

const inMemory = new Map();

// `localStorage` throws if site data are blocked, and is null in some web views.
export function kept(name) {
  try {
    return inMemory.get(name) ?? localStorage.getItem(name);
  } catch {
    return null;
  }
}

export function keep(name, value) {
  try {
    localStorage.setItem(name, value);
    inMemory.delete(name);
  } catch {
    inMemory.set(name, String(value));
  }
}
