import type { Sql } from '@interlock/event-store';
import type { Nats } from '@interlock/local/nats.ts';
import type { Scope } from '@interlock/runtime';
import { AckPolicy, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { createInbox } from '@nats-io/transport-node';
import { virtualMachines } from '../../../services/compute/src/vm/decider.ts';
import type { Fleet } from './fleet.ts';

/** The table of machines' state rows, as the event store names it. */
export const vmTable = `${virtualMachines.name}_v${virtualMachines.stateVersion}`;

/** Machines of one transaction, and transactions at once: the best of those tried. */
const chunkSize = 5_000;
const connectionsMax = 2;
/** Most bytes of a message, as the relay of a service has it. */
const messageBytesMax = 512 * 1024;
/** Digits of a machine's number at the end of its name, with the letter before them. */
const idLength = 8;

/** What a stopped machine leaves behind, for each machine alike but for its name. */
interface Written {
  /** Where a machine's id stands, `@@` stands. */
  readonly row: string;
  readonly events: readonly { readonly type: string; readonly data: string; readonly meta: string }[];
}

/**
 * The least that stops a fleet on the servers of its cloud: three commits and two hops over the bus, of which the last
 * commit stores for every machine the very event rows and the very state row that compute stores, set-based, made inside
 * Postgres from a template, over key ranges, with no index touched by the update, on two connections; each range is
 * published when it is committed, as many bytes as compute publishes, with all acknowledgements in one inbox, and it ends
 * when a consumer has got everything.
 *
 * It reads nothing and decides nothing: it knows beforehand what is to be written.
 *
 * @param written `factBytes`: of all facts as they were published; `lastEvent`, `eventsEach`: what is written for a machine
 */
export const openFleetFloor = async (
  { computeSql: sql, stopping, group }: Fleet,
  {
    nats,
    factBytes,
    lastEvent = 'VmStopped',
    eventsEach = 2,
  }: {
    readonly nats: Pick<Nats, 'connect'>;
    readonly factBytes: number;
    readonly lastEvent?: string;
    readonly eventsEach?: number;
  },
  scope: Scope,
): Promise<() => Promise<void>> => {
  const written = await readWritten(sql, group, { lastEvent, eventsEach });
  await sql`create table floor_rows (like rows including all) with (fillfactor = 50)`;
  await sql`create table floor_events (like events including all)`;
  const prefix = `${group}/virtualMachines/`;
  const idOf = sql`'f' || lpad(n::text, ${idLength - 1}, '0')`;
  await sql`
    insert into floor_rows (table_name, key, version, row)
    select ${vmTable}, ${prefix} || ${idOf}, 3, replace(${written.row}, '@@', ${idOf})::json
    from generate_series(0, ${stopping - 1}) n`;
  await sql`
    insert into floor_events
    select n * 3 + v, 'vm-' || ${prefix} || ${idOf}, v, 'VmStarted', 1, '{}', '{}', 0
    from generate_series(0, ${stopping - 1}) n, generate_series(1, 3) v`;
  await sql`vacuum (analyze) floor_rows, floor_events`;
  const bus = await openFloorBus(nats, scope);

  let version = 3;
  let position = stopping * 3;
  const storeRange = (from: number, to: number, base: number): Promise<unknown> =>
    sql.begin(async (transaction) => {
      const first = `${prefix}f${String(from).padStart(idLength - 1, '0')}`;
      const last = `${prefix}f${String(to - 1).padStart(idLength - 1, '0')}`;
      const [stopped, count] = [version + written.events.length, written.events.length];
      await transaction`
        update floor_rows set version = ${stopped}, row = replace(${written.row}, '@@', right(key, ${idLength}))::json
        where table_name = ${vmTable} and key between ${first} and ${last}`;
      await transaction`
        insert into floor_events
        select ${base} + (substr(key, length(key) - ${idLength - 2})::int - ${from}) * ${count} + e.n, 'vm-' || key, ${version} + e.n, e.type, 1,
          replace(e.data, '@@', right(key, ${idLength}))::json, replace(e.meta, '@@@', gen_random_uuid()::text)::json, 1700000000000
        from floor_rows, unnest(
          ${sql.array(written.events.map((e) => e.type))}::text[], ${sql.array(written.events.map((e) => e.data))}::text[],
          ${sql.array(written.events.map((e) => e.meta))}::text[]) with ordinality as e(type, data, meta, n)
        where table_name = ${vmTable} and key between ${first} and ${last}
        order by key, e.n`;
    });

  const commitOne = async (): Promise<void> => {
    position += 1;
    await sql`insert into floor_events values (${position}, ${`loss-${position}`}, 1, 'KeyAccessLost', 1, '{}', '{}', 0)`;
  };

  return async () => {
    await commitOne();
    await bus.hop(300);
    await commitOne();
    await bus.hop(300);
    const base = position;
    let next = 0;
    let bytesLeft = factBytes;
    const worker = async (): Promise<void> => {
      while (next < stopping) {
        const from = next;
        const to = Math.min(stopping, from + chunkSize);
        next = to;
        await storeRange(from, to, base + from * written.events.length);
        // The last range publishes what rounding left.
        const bytes = to === stopping ? bytesLeft : Math.round((factBytes * (to - from)) / stopping);
        bytesLeft -= bytes;
        if (bytes > 0) bus.publish(bytes);
      }
    };
    await Promise.all(Array.from({ length: connectionsMax }, worker));
    position = base + stopping * written.events.length;
    version += written.events.length;
    await bus.settled();
  };
};

/** What compute wrote for the machine it changed last, with so many events up to one of that type. */
const readWritten = async (
  sql: Sql,
  group: string,
  { lastEvent, eventsEach }: { readonly lastEvent: string; readonly eventsEach: number },
): Promise<Written> => {
  const [last] = await sql<{ stream: string; version: number }[]>`
    select stream, version from events where type = ${lastEvent} order by position desc limit 1`;
  if (!last) throw new Error(`there is no ${lastEvent} yet that could be taken as a template`);
  const id = last.stream.slice(-idLength);
  const key = `${group}/virtualMachines/${id}`;
  const [row] = await sql<{ row: string }[]>`
    select row::text as row from rows where table_name = ${vmTable} and key = ${key}`;
  const events = await sql<{ type: string; data: string; meta: string; id: string }[]>`
    select type, data::text as data, meta::text as meta, meta->>'id' as id from events
    where stream = ${last.stream} and version <= ${last.version} and version > ${last.version - eventsEach} order by version`;
  if (!row) throw new Error(`${key} has no row`);
  return {
    row: row.row.replaceAll(id, '@@'),
    events: events.map(({ type, data, meta, id: eventId }) => ({
      type,
      data: data.replaceAll(id, '@@'),
      meta: meta.replaceAll(eventId, '@@@'),
    })),
  };
};

/** A stream of the floor's own, with a consumer of it. */
const openFloorBus = async (nats: Pick<Nats, 'connect'>, scope: Scope) => {
  const connection = await nats.connect();
  scope.defer('floor bus', () => connection.close());
  const stream = `bench_floor_${process.pid}`;
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: stream, subjects: [`${stream}.>`], max_bytes: 1024 ** 3 });
  scope.defer('floor stream', () => manager.streams.delete(stream));
  await manager.consumers.add(stream, { durable_name: 'floor', ack_policy: AckPolicy.Explicit });
  const listening = await nats.connect();
  scope.defer('floor listener', () => listening.close());
  const consumer = await jetstream(listening).consumers.get(stream, 'floor');
  let sent = 0;
  let acknowledged = 0;
  let received = 0;
  let waiting: (() => void) | undefined;
  const check = (): void => {
    if (acknowledged >= sent && received >= sent) waiting?.();
  };
  await consumer.consume({
    callback: (message) => {
      message.ack();
      received += 1;
      check();
    },
  });
  const inbox = createInbox();
  connection.subscribe(`${inbox}.*`, {
    callback: (_, message) => {
      if (message.json<{ error?: unknown }>().error !== undefined) throw new Error(`not stored: ${message.string()}`);
      acknowledged += 1;
      check();
    },
  });
  const payload = new Uint8Array(messageBytesMax).fill(120);
  const publish = (bytes: number): void => {
    for (let left = bytes; left > 0; left -= messageBytesMax) {
      sent += 1;
      connection.publish(`${stream}.0`, payload.subarray(0, Math.min(left, messageBytesMax)), {
        reply: `${inbox}.${sent}`,
      });
    }
  };
  const settled = (): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting = resolve;
    check();
    return promise;
  };
  return {
    publish,
    settled,
    hop: (bytes: number): Promise<void> => {
      publish(bytes);
      return settled();
    },
  };
};
