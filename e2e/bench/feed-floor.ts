import { openConnections } from '@interlock/event-store';
import type { Nats } from '@interlock/local/nats.ts';
import { DEFAULT_PARTITION_COUNT, partitionOf } from '@interlock/messaging';
import type { Scope } from '@interlock/runtime';
import { AckPolicy, jetstream, jetstreamManager, StorageType } from '@nats-io/jetstream';

/**
 * The floor of `feed`: one subject and one consumer for each partition. A consumer handles its messages one after the other: it runs
 * one UPDATE by key and acknowledges.
 * @param streams names of all streams; each has a row
 * @returns publishes one message of a stream; resolves when its UPDATE is committed
 */
export const openFeedFloor = async (
  options: {
    readonly nats: Pick<Nats, 'connect'>;
    readonly databaseUrl: string;
    readonly streams: readonly string[];
    readonly payload: Uint8Array;
  },
  scope: Scope,
): Promise<(stream: string) => Promise<void>> => {
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

  const consume = async (partition: number): Promise<void> => {
    const durable = `floor_${partition}`;
    const filter = { durable_name: durable, filter_subject: `${name}.${partition}`, ack_policy: AckPolicy.Explicit };
    await manager.consumers.add(name, filter);
    const messages = await (await client.consumers.get(name, durable)).consume();
    const running = (async () => {
      for await (const message of messages) {
        const [id = '', stream = ''] = Buffer.from(message.data).toString('utf8').split('\n', 1)[0]?.split(' ') ?? [];
        await sql`update floor_rows set version = version + 1 where key = ${stream}`;
        message.ack();
        waiting.get(Number(id))?.();
      }
    })();
    scope.defer(durable, async () => {
      await messages.close();
      await running;
    });
  };
  for (let partition = 0; partition < DEFAULT_PARTITION_COUNT; partition++) await consume(partition);

  let next = 0;
  return async (stream) => {
    const id = next++;
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting.set(id, resolve);
    const bytes = Buffer.concat([Buffer.from(`${id} ${stream}\n`), options.payload]);
    await client.publish(`${name}.${partitionOf(stream, DEFAULT_PARTITION_COUNT)}`, bytes);
    await promise;
    waiting.delete(id);
  };
};
