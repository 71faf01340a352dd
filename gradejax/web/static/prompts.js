// Which grade to ask for next.

// Picks one of the grades in `counts` at random, likelier the fewer drawings it has; never the `latest` again.
export function choose(counts, latest) {
  const most = Math.max(...Object.values(counts));
  const candidates = Object.keys(counts).filter((grade) => grade !== latest);
  const weights = candidates.map((grade) => most - counts[grade] + 1);
  let place = Math.random() * weights.reduce((sum, weight) => sum + weight, 0);
  return candidates.find((_, i) => (place -= weights[i]) < 0) ?? candidates.at(-1);
}
