/**
 * The entries that no other entry beats in both coordinates (smaller is better in both), by rising `x`. Of equal
 * entries the first stays.
 */
export function paretoFront<T>(entries: readonly T[], x: (entry: T) => number, y: (entry: T) => number): T[] {
  const front: T[] = [];
  const ranked = [...entries].sort((a, b) => x(a) - x(b) || y(a) - y(b));
  for (const entry of ranked) {
    if (front.length === 0 || y(entry) < y(front[front.length - 1])) front.push(entry);
  }
  return front;
}
