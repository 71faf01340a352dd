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

// Returns whether the value outlives the page.
export function keep(name, value) {
  try {
    localStorage.setItem(name, value);
    inMemory.delete(name);
    return true;
  } catch {
    inMemory.set(name, String(value));
    return false;
  }
}

export function forget(name) {
  inMemory.delete(name);
  try {
    localStorage.removeItem(name);
  } catch {
    // There is nothing to remove.
  }
}
