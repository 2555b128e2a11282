import type { Nats } from '@interlock/local/nats.ts';
import type { Scope } from '@interlock/runtime';
import { DeliverPolicy, jetstream } from '@nats-io/jetstream';

/** Counts facts of one kind about the machines of one resource group as a consumer of the stream gets them. */
export interface ToldFacts {
  /** Facts counted since the last `begin`. */
  count(): number;
  /** Bytes of the messages they came in, and how many those were. */
  bytes(): number;
  messages(): number;
  begin(): void;
  /** Resolves as soon as so many were counted. */
  reached(count: number): Promise<void>;
}

/** Most bytes between the type of a fact and the name of the machine in its payload: three tags and three lengths. */
const payloadHeadMax = 9;

/**
 * Listens to a stream from now on. Facts are counted by the name of their type in the bytes of a message, which stands in
 * each once and nowhere else, and the machine's name behind it: decoding them would take a good part of what is measured from
 * its cores.
 * @param options.group full name of the resource group; machines of others, stopped by somebody else, are not counted
 */
export const toldFacts = async (
  options: {
    readonly nats: Pick<Nats, 'connect'>;
    readonly stream: string;
    readonly type: string;
    readonly group: string;
  },
  scope: Scope,
): Promise<ToldFacts> => {
  const { nats, stream, type, group } = options;
  const connection = await nats.connect();
  scope.defer('listener', () => connection.close());
  const consumer = await jetstream(connection).consumers.get(stream, { deliver_policy: DeliverPolicy.New });
  // Field 6 of a fact, with its length: a type is never mistaken for a longer one that begins like it.
  const mark = Buffer.concat([Buffer.from([(6 << 3) | 2, type.length]), Buffer.from(type)]);
  const machines = Buffer.from(`${group}/virtualMachines/`);
  let counted = { facts: 0, bytes: 0, messages: 0 };
  let waiting: { readonly count: number; readonly resolve: () => void } | undefined;
  const check = (): void => {
    if (waiting && counted.facts >= waiting.count) waiting.resolve();
  };
  const messages = await consumer.consume({
    callback: (message) => {
      const bytes = Buffer.from(message.data.buffer, message.data.byteOffset, message.data.byteLength);
      let found = 0;
      for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + mark.length)) {
        const payload = at + mark.length;
        if (bytes.subarray(payload, payload + payloadHeadMax + machines.length).includes(machines)) found += 1;
      }
      if (found === 0) return;
      counted.facts += found;
      counted.bytes += bytes.length;
      counted.messages += 1;
      check();
    },
  });
  scope.defer('listener', () => {
    messages.stop();
  });
  return {
    count: () => counted.facts,
    bytes: () => counted.bytes,
    messages: () => counted.messages,
    begin() {
      counted = { facts: 0, bytes: 0, messages: 0 };
    },
    reached(count) {
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting = { count, resolve };
      check();
      return promise;
    },
  };
};
