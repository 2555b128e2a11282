/**
 * What a generator would be that returns what `work` does, without the cost of one, which is several promises and a queue:
 * middleware of nice-grpc has that shape also for calls with one answer. `work` begins with the first `next`.
 */
export const answeredOnce = <Answer>(work: () => Promise<Answer>): AsyncGenerator<never, Answer, undefined> =>
  new AnsweredOnce(work);

/**
 * The one answer of a call that nothing is streamed for. What was made by `answeredOnce` gives it without the detour of `next`,
 * which is two promises and as many turns of the queue at each of the four layers of a call.
 */
export const answerOf = <Answer>(answers: AsyncIterator<unknown, Answer>): Promise<Answer> =>
  // One that yields where it was to return breaks the contract of nice-grpc, which says so itself.
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
