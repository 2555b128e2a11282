import type { Nats } from '@interlock/local/nats.ts';
import type { Scope } from '@interlock/runtime';
import { DeliverPolicy, jetstream } from '@nats-io/jetstream';

/** Bytes between the type of a fact and the machine's name in its payload, at most: three tags and three lengths. */
const payloadHeadMax = 9;

/**
 * Counts published facts of one type about the machines of one resource group. It searches the bytes of each message for the
 * type and the machine's name after it: decoding would use much of the CPU that is measured.
 */
export class FactCounter {
  facts = 0;
  /** Bytes and number of the messages that contained them. */
  bytes = 0;
  messages = 0;
  readonly #mark: Buffer;
  readonly #machines: Buffer;
  #waiting: { readonly count: number; readonly resolve: () => void } | undefined;

  /** @param group full name of the resource group */
  constructor(type: string, group: string) {
    // Field 6 of a fact, with its length: no type matches a longer one that starts with it.
    this.#mark = Buffer.concat([Buffer.from([(6 << 3) | 2, type.length]), Buffer.from(type)]);
    this.#machines = Buffer.from(`${group}/virtualMachines/`);
  }

  /** Consumes a stream from now on. */
  async consume(nats: Pick<Nats, 'connect'>, stream: string, scope: Scope): Promise<this> {
    const connection = await nats.connect();
    scope.defer('fact counter', () => connection.close());
    const consumer = await jetstream(connection).consumers.get(stream, { deliver_policy: DeliverPolicy.New });
    const messages = await consumer.consume({
      callback: ({ data }) => this.#count(Buffer.from(data.buffer, data.byteOffset, data.byteLength)),
    });
    scope.defer('fact counter', () => messages.stop());
    return this;
  }

  reset(): void {
    [this.facts, this.bytes, this.messages] = [0, 0, 0];
  }

  /** Resolves when this many facts are counted since the last reset. @throws Error after `limitMs` */
  async reached(count: number, limitMs: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting = { count, resolve };
    const late = setTimeout(
      () => reject(new Error(`counted ${this.facts} of ${count} facts within ${limitMs} ms`)),
      limitMs,
    );
    this.#check();
    await promise.finally(() => clearTimeout(late));
  }

  #count(bytes: Buffer): void {
    let found = 0;
    for (let at = bytes.indexOf(this.#mark); at >= 0; at = bytes.indexOf(this.#mark, at + this.#mark.length)) {
      const payload = at + this.#mark.length;
      if (bytes.subarray(payload, payload + payloadHeadMax + this.#machines.length).includes(this.#machines)) found++;
    }
    if (found === 0) return;
    this.facts += found;
    this.bytes += bytes.length;
    this.messages += 1;
    this.#check();
  }

  #check(): void {
    if (this.#waiting && this.facts >= this.#waiting.count) this.#waiting.resolve();
  }
}
