/** Runs a limited number of pieces of work at once; the others wait in order. */
export type Limiter = <Result>(work: () => Promise<Result>) => Promise<Result>;

/** @param most how many run at once */
export const limiterOf = (most: number): Limiter => {
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
