/**
 * What a generator would be that returns what `work` does, without the cost of one, which is several promises and a queue:
 * middleware of nice-grpc has that shape also for calls with one answer. `work` begins with the first `next`.
 */
export const answeredOnce = <Answer>(work: () => Promise<Answer>): AsyncGenerator<never, Answer, undefined> => ({
  next: async () => ({ done: true, value: await work() }),
  return: async (value) => ({ done: true, value: await value }),
  throw: async (error) => {
    throw error;
  },
  [Symbol.asyncIterator]() {
    return this;
  },
  [Symbol.asyncDispose]: async () => undefined,
});
