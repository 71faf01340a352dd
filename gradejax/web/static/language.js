// The texts of the page in its language, which the server has put into the page; and numbers and dates in it.

let language, texts, plurals, numbers;

// `itsTexts`: by key, in the language that is spoken from now on.
export function speak(code, itsTexts) {
  [language, texts] = [code, itsTexts];
  plurals = new Intl.PluralRules(code);
  numbers = new Intl.NumberFormat(code);
}

speak(document.documentElement.lang, JSON.parse(document.getElementById("texts").textContent));

export const number = (n) => numbers.format(n);

// With so many `digits` after the point.
export const decimal = (value, digits, options) =>
  value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits, ...options });

// `share`: between 0 and 1. Returns "97%", or "97.4%" with one of `digits` after the point.
export const percent = (share, digits = 0) => decimal(share, digits, { style: "percent" });

// `options`: those of Intl.DateTimeFormat.
export const dated = (date, options) => new Date(date).toLocaleString(language, options);

// The text `key` with `values` in place of the {names} in it. `values.n` decides between "1 drawing" and "2 drawings".
// The languages' files are in gradejax/web/texts.
export function t(key, values = {}) {
  const text = texts[key];
  const form = typeof text === "string" ? text : (text[plurals.select(values.n)] ?? text.other);
  return form.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? number(values[name]) : values[name]));
}
