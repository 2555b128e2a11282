/** Lets pieces of work that are done side by side go on together from some point of each, so that what comes next is asked for at once. */
export interface Meeting {
  /**
   * Does one of them. `arrive` resolves when every other one has arrived as well, or has ended without: nobody waits for what
   * failed on its way. Work must hold nothing there that another one needs to get there.
   */
  attend<Result>(work: (arrive: () => Promise<void>) => Promise<Result>): Promise<Result>;
}

/** @param count pieces of work; all of them attend */
export const openMeeting = (count: number): Meeting => {
  const { promise: complete, resolve } = Promise.withResolvers<void>();
  let missing = count;
  return {
    async attend(work) {
      let isHere = false;
      const come = (): void => {
        if (isHere) return;
        isHere = true;
        missing -= 1;
        if (missing === 0) resolve();
      };
      try {
        return await work(() => {
          come();
          return complete;
        });
      } finally {
        come();
      }
    },
  };
};
