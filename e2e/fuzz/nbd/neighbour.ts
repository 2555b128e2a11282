import type { SeededRandom } from '@interlock/runtime';
import { TestNbdClient } from '../../../services/disk/src/host/nbd/test-nbd-client.ts';
import { command, optionReply } from '../../../services/disk/src/host/nbd/wire.ts';
import { below } from './frames.ts';
import { exportOf, type NbdTarget, secured } from './target.ts';

/** Lengths of requests in bytes. */
const lengths = [4_096, 4_096, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4 * 1_048_576];
/** Requests of one connection. */
const requestsPerConnection = 100;

/** What a well-behaved client found. */
export interface NeighbourFindings {
  readonly requests: number;
  readonly slowestMs: number;
  readonly problems: readonly string[];
}

/** A client of its own disk. It writes, reads back and compares, reconnects now and then, and measures how long each step takes. */
export class Neighbour {
  readonly #target: NbdTarget;
  readonly #random: SeededRandom;
  readonly #hangMs: number;
  readonly #isStructured: boolean;
  readonly #from: number;
  readonly #size: number;
  readonly #problems: string[] = [];
  #requests = 0;
  #slowestMs = 0;

  /** @param options its part of the disk, in bytes, which nothing else writes */
  constructor(
    target: NbdTarget,
    options: {
      readonly random: SeededRandom;
      readonly hangMs: number;
      readonly isStructured: boolean;
      readonly from: number;
      readonly size: number;
    },
  ) {
    this.#target = target;
    this.#random = options.random;
    this.#hangMs = options.hangMs;
    this.#isStructured = options.isStructured;
    this.#from = options.from;
    this.#size = options.size;
  }

  /** Works until `isOver`, at most up to the first problem. */
  async run(isOver: () => boolean): Promise<NeighbourFindings> {
    while (!isOver() && this.#problems.length === 0) {
      await this.#converse(isOver).catch((error: unknown) => this.#problems.push(`the other client failed: ${error}`));
    }
    return { requests: this.#requests, slowestMs: Math.round(this.#slowestMs), problems: this.#problems };
  }

  async #converse(isOver: () => boolean): Promise<void> {
    const client = await this.#timed('a new connection', () => this.#connected());
    for (let count = 0; count < requestsPerConnection && !isOver(); count += 1) {
      const length = this.#random.pick(lengths);
      const offset = this.#from + below(this.#random, (this.#size - length) / 4_096) * 4_096;
      const content = Buffer.alloc(length, Buffer.from(this.#random.bytes(64)));
      const { code } = await this.#timed(`a write of ${length} bytes`, () => client.write(offset, content));
      const { code: readCode, data } = await this.#timed(`a read of ${length} bytes`, () =>
        client.read(offset, length),
      );
      if (code !== 0 || readCode !== 0) throw new Error(`a request was answered with error ${code || readCode}`);
      if (!data.equals(content)) throw new Error(`${length} bytes at ${offset} are not those that it wrote`);
    }
    client.send(command.disconnect, 0, 0);
    await this.#timed('the end of a connection', () => client.ended());
    client.stream.destroy();
  }

  async #connected(): Promise<TestNbdClient> {
    const client = new TestNbdClient(await secured(this.#target));
    if (this.#isStructured) await client.structured(exportOf(this.#target));
    const { kind, data } = await client.go(exportOf(this.#target));
    if (kind !== optionReply.ack) throw new Error(`its disk was refused: ${data}`);
    return client;
  }

  async #timed<Result>(what: string, work: () => Promise<Result>): Promise<Result> {
    const sinceMs = performance.now();
    const never = Promise.withResolvers<never>();
    const late = setTimeout(() => never.reject(new Error(`${what} was not answered`)), this.#hangMs * 10);
    try {
      return await Promise.race([work(), never.promise]);
    } finally {
      clearTimeout(late);
      const tookMs = performance.now() - sinceMs;
      this.#requests += 1;
      this.#slowestMs = Math.max(this.#slowestMs, tookMs);
      if (tookMs > this.#hangMs) this.#report(what, tookMs);
    }
  }

  #report(what: string, tookMs: number): void {
    this.#problems.push(`${what} by the other client took ${Math.round(tookMs)} ms; allowed are ${this.#hangMs}`);
  }
}
