/**
 * What a generator would be that returns what `work` does, without the cost of one, which is several promises and a queue:
 * middleware of nice-grpc has that shape also for calls with one answer. `work` begins with the first `next`.
 */
export const answeredOnce = <Answer>(work: () => Promise<Answer>): AsyncGenerator<never, Answer, undefined> =>
  new AnsweredOnce(work);

/** A class, because there are four for each call, and an object put together anew has a closure for each of its functions. */
class AnsweredOnce<Answer> implements AsyncGenerator<never, Answer, undefined> {
  readonly #work: () => Promise<Answer>;
  constructor(work: () => Promise<Answer>) {
    this.#work = work;
  }
  async next(): Promise<IteratorReturnResult<Answer>> {
    const work = this.#work;
    return { done: true, value: await work() };
  }
  async return(value: Answer | PromiseLike<Answer>): Promise<IteratorReturnResult<Answer>> {
    return { done: true, value: await value };
  }
  async throw(error: unknown): Promise<never> {
    throw error;
  }
  [Symbol.asyncIterator](): this {
    return this;
  }
  async [Symbol.asyncDispose](): Promise<void> {}
}
