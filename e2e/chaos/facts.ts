import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import { type ServiceName, serviceNames } from '@interlock/local/services.ts';
import connect from 'postgres';
import type { Clients } from '../cloud/clients.ts';
import { until } from '../cloud/until.ts';

/** One stored event, as far as tests need it. */
export interface Stored {
  readonly stream: string;
  readonly type: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** Events of a service, straight from its database, in commit order: also while the service is down. @param like for the stream, as in SQL */
export const storedEvents = async (
  cloud: Pick<LocalCloud, 'databaseUrls'>,
  service: ServiceName,
  types: readonly string[],
  like: string,
): Promise<readonly Stored[]> => {
  const sql = connect(cloud.databaseUrls[service], { max: 1, onnotice: () => undefined });
  try {
    const rows = await sql<{ stream: string; type: string; time: string }[]>`
      select stream, type, time_ms::text as time from events where type = any(${[...types]}) and stream like ${like} order by position`;
    return rows.map(({ stream, type, time }) => ({ stream, type, at: Number(time) }));
  } finally {
    await sql.end();
  }
};

/** When a key version was last disabled: the time of the commit, as key-vault stored it. */
export const disabledAt = async (cloud: Pick<LocalCloud, 'databaseUrls'>, keyVersion: string): Promise<number> => {
  const key = keyVersion.replace(/\/versions\/.*/, '');
  const [last] = (await storedEvents(cloud, 'key-vault', ['KeyVersionDisabled'], `%${key}`)).slice(-1);
  if (last === undefined) throw new Error(`key-vault stored no loss of ${keyVersion}`);
  return last.at;
};

/** How often each of these machines was stopped because of a key, and how often it reached the end of that, since a time. */
export const stopsOf = async (
  cloud: Pick<LocalCloud, 'databaseUrls'>,
  machines: readonly string[],
  since: number,
): Promise<ReadonlyMap<string, { readonly stopping: number; readonly stopped: number }>> => {
  const events = await storedEvents(cloud, 'compute', ['VmStopping', 'VmStopped'], 'vm-%');
  const count = (machine: string, wanted: string): number =>
    events.filter(({ stream, type, at }) => stream === `vm-${machine}` && type === wanted && at >= since).length;
  return new Map(
    machines.map((machine) => [
      machine,
      { stopping: count(machine, 'VmStopping'), stopped: count(machine, 'VmStopped') },
    ]),
  );
};

/** How long every consumer must have had no lag: longer than the time between two watermarks. In milliseconds. */
const calmMs = 1_200;

/**
 * Waits until no consumer lags and no fact is parked.
 * @throws Error naming the consumers that lag, or what was parked (G7)
 */
export const settled = async (clients: Clients, limitMs = 20_000): Promise<void> => {
  let calmSince = performance.now();
  let behind = '';
  await until(
    'no consumer lags',
    async () => {
      const consumers = await Promise.all(
        serviceNames.map(async (service) =>
          (await clients.messaging(service).listConsumers({})).consumers.map((found) => ({ ...found, service })),
        ),
      );
      const parked = consumers.flat().filter(({ parkedCount }) => parkedCount > 0);
      if (parked.length > 0) throw new Error(`parked: ${parked.map(({ service, name }) => `${service} ${name}`)}`);
      const late = consumers.flat().filter(({ gap }) => gap > 0);
      if (late.length > 0) {
        behind = late.map(({ service, name, gap }) => `${service} ${name} by ${gap}`).join(', ');
        calmSince = performance.now();
      }
      return performance.now() - calmSince > calmMs;
    },
    limitMs,
  ).catch((error: unknown) => {
    throw new Error(`not settled; last lag: ${behind || 'none'}`, { cause: error });
  });
};
