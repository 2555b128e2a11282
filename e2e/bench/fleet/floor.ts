import type { Sql } from '@interlock/event-store';
import type { Nats } from '@interlock/local/nats.ts';
import type { Scope } from '@interlock/runtime';
import { AckPolicy, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { type Fleet, vmTable } from './fleet.ts';

/** Machines of a transaction, and transactions in flight: the fastest values of those tried. */
const chunkSize = 5_000;
const connections = 2;
/** Largest message, as a service's relay has it. */
const messageBytesMax = 512 * 1024;
/** Length of a machine's id: a letter and digits. */
const idLength = 8;
/** Events of each machine before the floor's first round. */
const eventsBefore = 3;

/** The rows that compute stores for each machine. `@@` is replaced by the machine's id. */
interface Template {
  readonly row: string;
  readonly events: readonly { readonly type: string; readonly data: string; readonly meta: string }[];
}

/** Options of the floor. */
interface FloorOptions {
  /** Bytes of all facts as compute published them. */
  readonly factBytes: number;
  /** The last event that compute stores for a machine, and the number of events up to that one. */
  readonly lastEvent: string;
  readonly eventsEach: number;
}

/**
 * The least work that stops a fleet on the servers of its cloud: three commits and two hops over the bus. The last commit
 * writes for every machine the same event rows and state row as compute, inside Postgres from a template, over key ranges on
 * two connections; each range is published when it is committed, as many bytes as compute publishes. It reads and decides
 * nothing. @returns runs the floor once
 */
export const openFleetFloor = async (
  fleet: Fleet,
  options: FloorOptions,
  scope: Scope,
): Promise<() => Promise<void>> => {
  const { computeSql: sql, stopping } = fleet;
  const prefix = `${fleet.place.group}/virtualMachines/`;
  const template = await readTemplate(sql, prefix, options);
  await createTables(sql, prefix, template, stopping);
  const bus = await openFloorBus(fleet.cloud.nats, scope);

  const eventCount = template.events.length;
  let version = eventsBefore;
  let position = stopping * eventsBefore;
  const commitOne = async (): Promise<void> => {
    position += 1;
    await sql`insert into floor_events values (${position}, ${`loss-${position}`}, 1, 'KeyAccessLost', 1, '{}', '{}', 0)`;
  };
  return async () => {
    await commitOne();
    await bus.hop(300);
    await commitOne();
    await bus.hop(300);
    let next = 0;
    let bytesLeft = options.factBytes;
    const storeAndPublish = async (): Promise<void> => {
      while (next < stopping) {
        const [from, to] = [next, Math.min(stopping, next + chunkSize)];
        next = to;
        const range = { from, to, version, position: position + from * eventCount };
        await storeRange(sql, prefix, template, range);
        // The last range publishes the bytes left over by rounding.
        const bytes = to === stopping ? bytesLeft : Math.round((options.factBytes * (to - from)) / stopping);
        bytesLeft -= bytes;
        bus.publish(bytes);
      }
    };
    await Promise.all(Array.from({ length: connections }, storeAndPublish));
    position += stopping * eventCount;
    version += eventCount;
    await bus.settled();
  };
};

const createTables = async (sql: Sql, prefix: string, { row }: Template, count: number): Promise<void> => {
  await sql`create table floor_rows (like rows including all) with (fillfactor = 50)`;
  await sql`create table floor_events (like events including all)`;
  const id = sql`'f' || lpad(n::text, ${idLength - 1}, '0')`;
  await sql`
    insert into floor_rows (table_name, key, version, row)
    select ${vmTable}, ${prefix} || ${id}, ${eventsBefore}, replace(${row}, '@@', ${id})::json
    from generate_series(0, ${count - 1}) n`;
  await sql`
    insert into floor_events
    select n * ${eventsBefore} + v, 'vm-' || ${prefix} || ${id}, v, 'VmStarted', 1, '{}', '{}', 0
    from generate_series(0, ${count - 1}) n, generate_series(1, ${eventsBefore}) v`;
  await sql`vacuum (analyze) floor_rows, floor_events`;
};

/** Writes rows and events of the machines numbered `from` to `to`, in one transaction. */
const storeRange = (
  sql: Sql,
  prefix: string,
  { row, events }: Template,
  { from, to, version, position }: Record<'from' | 'to' | 'version' | 'position', number>,
): Promise<unknown> =>
  sql.begin(async (transaction) => {
    const keyOf = (n: number): string => `${prefix}f${String(n).padStart(idLength - 1, '0')}`;
    const range = sql`table_name = ${vmTable} and key between ${keyOf(from)} and ${keyOf(to - 1)}`;
    const column = (name: 'type' | 'data' | 'meta') => sql`${sql.array(events.map((event) => event[name]))}::text[]`;
    await transaction`
      update floor_rows set version = ${version + events.length}, row = replace(${row}, '@@', right(key, ${idLength}))::json
      where ${range}`;
    await transaction`
      insert into floor_events
      select ${position} + (substr(key, length(key) - ${idLength - 2})::int - ${from}) * ${events.length} + e.n, 'vm-' || key,
        ${version} + e.n, e.type, 1, replace(e.data, '@@', right(key, ${idLength}))::json,
        replace(e.meta, '@@', right(key, ${idLength}))::json, 1700000000000
      from floor_rows, unnest(${column('type')}, ${column('data')}, ${column('meta')}) with ordinality as e(type, data, meta, n)
      where ${range}
      order by key, e.n`;
  });

/** The rows that compute stored for the machine that it changed last. */
const readTemplate = async (sql: Sql, prefix: string, { lastEvent, eventsEach }: FloorOptions): Promise<Template> => {
  const [last] = await sql<{ stream: string; version: number }[]>`
    select stream, version from events where type = ${lastEvent} order by position desc limit 1`;
  if (!last) throw new Error(`compute stored no ${lastEvent} to take as a template`);
  const id = last.stream.slice(-idLength);
  const [found] = await sql<{ row: string }[]>`
    select row::text as row from rows where table_name = ${vmTable} and key = ${prefix + id}`;
  const events = await sql<{ type: string; data: string; meta: string }[]>`
    select type, data::text as data, meta::text as meta from events
    where stream = ${last.stream} and version <= ${last.version} and version > ${last.version - eventsEach} order by version`;
  if (!found) throw new Error(`${prefix + id} has no row`);
  return {
    row: found.row.replaceAll(id, '@@'),
    events: events.map(({ type, data, meta }) => ({
      type,
      data: data.replaceAll(id, '@@'),
      meta: meta.replaceAll(id, '@@'),
    })),
  };
};

/** A separate stream of the floor with a consumer. `settled` resolves when everything is stored and consumed. */
const openFloorBus = async (nats: Pick<Nats, 'connect'>, scope: Scope) => {
  const [publisher, consumer] = [await nats.connect(), await nats.connect()];
  scope.defer('floor bus', () => Promise.all([publisher.close(), consumer.close()]));
  const stream = `bench_floor_${process.pid}`;
  const manager = await jetstreamManager(publisher);
  await manager.streams.add({ name: stream, subjects: [`${stream}.>`], max_bytes: 1024 ** 3 });
  scope.defer('floor stream', () => manager.streams.delete(stream));
  await manager.consumers.add(stream, { durable_name: 'floor', ack_policy: AckPolicy.Explicit });
  const client = jetstream(publisher);
  const stored: Promise<unknown>[] = [];
  let [sent, received] = [0, 0];
  let waiting: (() => void) | undefined;
  await (await jetstream(consumer).consumers.get(stream, 'floor')).consume({
    callback: (message) => {
      message.ack();
      received += 1;
      if (received >= sent) waiting?.();
    },
  });
  const payload = new Uint8Array(messageBytesMax).fill(120);
  const publish = (bytes: number): void => {
    for (let left = bytes; left > 0; left -= messageBytesMax) {
      sent += 1;
      stored.push(client.publish(`${stream}.0`, payload.subarray(0, Math.min(left, messageBytesMax))));
    }
  };
  const settled = async (): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting = resolve;
    if (received >= sent) resolve();
    await Promise.all([...stored.splice(0), promise]);
  };
  const hop = (bytes: number): Promise<void> => {
    publish(bytes);
    return settled();
  };
  return { publish, settled, hop };
};
