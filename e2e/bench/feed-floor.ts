import { openConnections, type Sql } from '@interlock/event-store';
import type { Nats } from '@interlock/local/nats.ts';
import { DEFAULT_PARTITION_COUNT, partitionOf } from '@interlock/messaging';
import type { Scope } from '@interlock/runtime';
import { AckPolicy, type JetStreamClient, jetstream, jetstreamManager, StorageType } from '@nats-io/jetstream';

/** The way of a feed by hand: messages on JetStream, one UPDATE a message, durable as everything here. */
export interface FeedFloor {
  /** Publishes one message of a stream. @returns resolves when its UPDATE is committed */
  tell(stream: string): Promise<void>;
}

/**
 * Opens the floor: a message an event on as many subjects as a service has partitions; each subject has a consumer that
 * takes its messages one after the other: UPDATE of one row by its key, then the acknowledgement.
 * @param streams names of all streams; each has a row
 */
export const openFeedFloor = async (
  options: {
    readonly nats: Pick<Nats, 'connect'>;
    readonly databaseUrl: string;
    readonly streams: readonly string[];
    readonly payload: Uint8Array;
  },
  scope: Scope,
): Promise<FeedFloor> => {
  const sql = openConnections(options.databaseUrl, { maxConnections: DEFAULT_PARTITION_COUNT });
  scope.defer('floor database', () => sql.end());
  await sql`create table floor_rows (key text collate "C" primary key, version integer not null) with (fillfactor = 50)`;
  await sql`insert into floor_rows select key, 0 from unnest(${sql.array([...options.streams])}::text[]) as s(key)`;
  const connection = await options.nats.connect();
  scope.defer('floor bus', () => connection.close());
  const name = `bench_feed_floor_${process.pid}`;
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name, subjects: [`${name}.*`], storage: StorageType.File });
  scope.defer('floor stream', () => manager.streams.delete(name));
  const client = jetstream(connection);
  const waiting = new Map<number, () => void>();
  for (let partition = 0; partition < DEFAULT_PARTITION_COUNT; partition++) {
    await manager.consumers.add(name, {
      durable_name: `floor_${partition}`,
      filter_subject: `${name}.${partition}`,
      ack_policy: AckPolicy.Explicit,
    });
    await consume(
      client,
      { stream: name, durable: `floor_${partition}`, sql, done: (id) => waiting.get(id)?.() },
      scope,
    );
  }
  let next = 0;
  return {
    async tell(stream) {
      const id = next++;
      const done = new Promise<void>((resolve) => waiting.set(id, resolve));
      const bytes = Buffer.concat([Buffer.from(`${id} ${stream}\n`), options.payload]);
      await client.publish(`${name}.${partitionOf(stream, DEFAULT_PARTITION_COUNT)}`, bytes);
      await done;
      waiting.delete(id);
    },
  };
};

const consume = async (
  client: JetStreamClient,
  to: { readonly stream: string; readonly durable: string; readonly sql: Sql; readonly done: (id: number) => void },
  scope: Scope,
): Promise<void> => {
  const consumer = await client.consumers.get(to.stream, to.durable);
  const messages = await consumer.consume();
  const running = (async () => {
    for await (const message of messages) {
      const [id = '', stream = ''] = Buffer.from(message.data).toString('utf8').split('\n', 1)[0]?.split(' ') ?? [];
      await to.sql`update floor_rows set version = version + 1 where key = ${stream}`;
      message.ack();
      to.done(Number(id));
    }
  })();
  scope.defer(to.durable, async () => {
    await messages.close();
    await running;
  });
};
