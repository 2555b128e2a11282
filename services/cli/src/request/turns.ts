/** Lets a few pieces of work go on at once; the others wait for their turn, the first first. */
export type Turns = <Result>(work: () => Promise<Result>) => Promise<Result>;

/** @param most how many go on at once */
export const turnsOf = (most: number): Turns => {
  let free = most;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (free > 0) free -= 1;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free += 1;
      else next();
    }
  };
};
