/**
 * Makes things in order, of which some are begun before they are taken: as long as those begun weigh less than `limit`. An
 * error comes when its thing is taken, so that the first in order is the one that is seen.
 */
export function startedAhead<T>(
  count: number,
  make: (index: number) => Promise<T>,
  weight: (index: number) => number,
  limit: number,
): (index: number) => Promise<T> {
  const begun = new Map<number, Promise<T>>();
  let [next, pending] = [0, 0];
  return async (index) => {
    while (next < count && (next <= index || pending < limit)) {
      const one = make(next);
      one.catch(() => {});
      begun.set(next, one);
      pending += weight(next++);
    }
    const taken = begun.get(index);
    if (!taken) throw new Error(`${index} was taken before`);
    begun.delete(index);
    const made = await taken;
    pending -= weight(index);
    return made;
  };
}
