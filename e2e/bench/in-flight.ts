/** Does something `count` times, `width` at once: the next as soon as one is done. */
export const inFlight = async (width: number, count: number, each: (n: number) => Promise<unknown>): Promise<void> => {
  let next = 0;
  await Promise.all(
    Array.from({ length: Math.min(width, count) }, async () => {
      while (next < count) {
        next += 1;
        await each(next - 1);
      }
    }),
  );
};
