// The grades of the store's scale, which the server has put into the page.

import { fit, NO_GRADE } from "./labels.js";

const { labels, groups, named } = JSON.parse(document.getElementById("scale").textContent);

// In the scale's order, which objects do not keep: they put "10" before "02".
export const GRADES = labels;
export const LABELS = [...GRADES, NO_GRADE];

// The positions of the grades at which another group of neighbours begins: the next letter.
export const GROUPS = groups;

// The scales with a name, {name, labels}.
export const NAMED = named;

fit(GRADES);

const MOST = 7; // columns, where the grades are in rows
const ROOMY = 5; // columns, as many as there are letters from A to E

// Lets a grid of the grades have rows and columns: one column for each letter, else rows of the same length.
export function arrange(grid) {
  const starts = [0, ...GROUPS];
  const sizes = starts.map((start, i) => (starts[i + 1] ?? GRADES.length) - start);
  const [tall] = sizes;
  const isByGroup = sizes.length > 1 && tall < 4 && sizes.every((size, i) => size === tall || (i === sizes.length - 1 && size < tall));
  const columns = isByGroup ? sizes.length : Math.ceil(GRADES.length / Math.ceil(GRADES.length / MOST));
  grid.style.setProperty("--columns", columns);
  grid.style.setProperty("--rows", isByGroup ? tall : Math.ceil(GRADES.length / columns));
  grid.classList.toggle("by-group", isByGroup);
  grid.classList.toggle("crowded", columns > ROOMY);
}
