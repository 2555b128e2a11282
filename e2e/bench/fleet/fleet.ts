import { openConnections, openPostgresStore, type Sql } from '@interlock/event-store';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import { type Scope, systemClock, systemRandom } from '@interlock/runtime';
import { readMasterKey } from '@interlock/sealing';
import type { Clients } from '../../cloud/clients.ts';
import { until } from '../../cloud/until.ts';
import { vmTable } from './floor.ts';
import { type FleetMachine, planFleet } from './plan.ts';
import { diskSeeding } from './seed-disks.ts';
import { machineSeeding } from './seed-machines.ts';
import { type FleetWorld, makeFleetWorld } from './world.ts';

/** Machines put in place in one go: bounds the memory of the bench. */
const chunkSize = 5_000;
/** How long services may take to come to rest after a fleet was put in place, or was stopped. */
const restMs = 600_000;

/** A running fleet of machines without guests, in a cloud of separate processes. */
export interface Fleet extends FleetWorld {
  /** Machines that must stop with the key. */
  readonly stopping: number;
  /** All machines. */
  readonly size: number;
  /** compute's database, for floors that store what compute stores. */
  readonly computeSql: Sql;
  /** Has every machine run again after the key is back, in bulk and not by unwrapping. */
  startAgain(): Promise<void>;
  /** Waits until every service has told what it stored. */
  rest(): Promise<void>;
}

/** Puts a fleet in place. Beside the stores of disk and compute, everything is done through the APIs. */
export const openFleet = async (
  parts: {
    readonly cloud: LocalCloud;
    readonly clients: Clients;
    readonly volumeFolder: string;
    readonly masterKeyFile: string;
  },
  stopping: number,
  scope: Scope,
): Promise<Fleet> => {
  const { cloud, clients, volumeFolder, masterKeyFile } = parts;
  const storeOf = async (service: 'key-vault' | 'disk' | 'compute') => {
    const url = cloud.databaseUrls[service];
    const store = await openPostgresStore({ url, clock: systemClock, random: systemRandom, maxConnections: 4 });
    scope.defer(`store of ${service}`, () => store.close());
    const sql = openConnections(url, { maxConnections: 4, transactionTimeoutMs: 120_000 });
    scope.defer(`database of ${service}`, () => sql.end());
    return { store, sql };
  };
  const [vault, disk, compute] = await Promise.all([storeOf('key-vault'), storeOf('disk'), storeOf('compute')]);
  const { sql: computeSql } = compute;
  const world = await makeFleetWorld(clients);
  const machines = machineSeeding(compute);
  const disks = diskSeeding(disk, { volumeFolder, masterKey: await readMasterKey(masterKeyFile) });

  const inChunks = async (
    work: (chunk: readonly FleetMachine[]) => Promise<unknown>,
    only = (_: FleetMachine) => true,
  ) => {
    let chunk: FleetMachine[] = [];
    for (const machine of planFleet(stopping, world)) {
      if (only(machine)) chunk.push(machine);
      if (chunk.length < chunkSize) continue;
      await work(chunk);
      chunk = [];
    }
    if (chunk.length > 0) await work(chunk);
  };

  const accessEpoch = await vault.store.head();
  await Promise.all([
    inChunks((chunk) => disks.make(chunk, accessEpoch)),
    inChunks((chunk) => machines.make(chunk, accessEpoch)),
  ]);
  // The planner of tables that were just filled believes that they are empty.
  await Promise.all([compute, disk].map(({ sql }) => sql`vacuum (analyze) rows, row_index, events`));
  let size = 0;
  for (const _ of planFleet(stopping, world)) size += 1;

  let opens = 1;
  const rest = async (): Promise<void> => {
    for (const service of ['key-vault', 'disk-encryption-set', 'disk', 'compute'] as const) {
      await until(
        `${service} has told everything`,
        async () => (await clients.messaging(service).getRelay({})).gap === 0,
        restMs,
      );
    }
  };
  await rest();
  return {
    ...world,
    stopping,
    size,
    computeSql,
    rest,
    async startAgain() {
      await until(
        'every machine is shown that its key is back',
        async () => {
          const [row] = await computeSql<{ blocked: number }[]>`
            select count(*)::int as blocked from rows where table_name = ${vmTable} and row::text like '%"blocked":[{%'`;
          return row?.blocked === 0;
        },
        restMs,
      );
      opens += 1;
      const epoch = await vault.store.head();
      await inChunks(
        (chunk) => machines.startAgain(chunk, epoch, opens),
        ({ stops }) => stops,
      );
    },
  };
};
