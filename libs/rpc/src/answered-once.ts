/**
 * An async generator that yields nothing and returns the result of `work`, as middleware of nice-grpc has it for calls with one
 * response. It is cheaper than a real generator (several promises and a queue). `work` starts with the first `next`.
 */
export const answeredOnce = <Answer>(work: () => Promise<Answer>): AsyncGenerator<never, Answer, undefined> =>
  new AnsweredOnce(work);

/**
 * The only response of a call without streams. An object of `answeredOnce` returns it without `next`, which would cost two
 * promises and two microtasks at each of the four layers of a call.
 */
export const answerOf = <Answer>(answers: AsyncIterator<unknown, Answer>): Promise<Answer> =>
  // nice-grpc itself reports a generator that yields where it must return.
  answers instanceof AnsweredOnce ? answers.answer() : answers.next().then(({ value }) => value as Answer);

/** A class, because each call creates four: an object literal would create a closure for each of its functions. */
class AnsweredOnce<Answer> implements AsyncGenerator<never, Answer, undefined> {
  readonly #work: () => Promise<Answer>;
  constructor(work: () => Promise<Answer>) {
    this.#work = work;
  }
  answer(): Promise<Answer> {
    const work = this.#work;
    return work();
  }
  async next(): Promise<IteratorReturnResult<Answer>> {
    return { done: true, value: await this.answer() };
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
