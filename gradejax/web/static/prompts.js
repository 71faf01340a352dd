// Which grade to ask for next.

// `counts`: a Map from grades to numbers of drawings. Picks one at random, likelier the fewer drawings it has; never
// the `latest` again.
export function choose(counts, latest) {
  const most = Math.max(...counts.values());
  const candidates = [...counts.keys()].filter((grade) => grade !== latest);
  const weights = candidates.map((grade) => most - counts.get(grade) + 1);
  let place = Math.random() * weights.reduce((sum, weight) => sum + weight, 0);
  return candidates.find((_, i) => (place -= weights[i]) < 0) ?? candidates.at(-1);
}
