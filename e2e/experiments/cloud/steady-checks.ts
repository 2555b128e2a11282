import type { SteadyCheck } from '@interlock/lab';
import type { History } from '@interlock/lab/judge/journal/history';
import { serviceNames } from '@interlock/local/services.ts';
import type { Clients } from '../../cloud/clients.ts';
import type { MadeEstate } from './planned-estate.ts';

/** How far back the I/O of a group is checked, in milliseconds. */
const lookBackMs = 2_000;

/** What checks read. */
export interface Looked {
  readonly clients: Clients;
  readonly estate: MadeEstate;
  readonly history: () => Promise<History>;
  readonly nowMs: number;
}

/** @returns why the check does not hold; undefined if it does. A call that fails is such a reason */
export const brokenCheck = async (check: SteadyCheck, looked: Looked): Promise<string | undefined> => {
  try {
    if (check.kind === 'services-ready') return await unreadyService(looked);
    if (check.kind === 'leases-held') return await unheldLease(looked);
    return idleDisk(check, looked, await looked.history());
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};

/** A service that does not respond, lags, has parked facts, or cannot publish. */
const unreadyService = async ({ clients }: Looked): Promise<string | undefined> => {
  const reasons = await Promise.all(
    serviceNames.map(async (service) => {
      const client = clients.messaging(service);
      const [{ consumers }, relay] = await Promise.all([client.listConsumers({}), client.getRelay({})]);
      if (relay.failingSince !== undefined) return `${service} publishes nothing: ${relay.problem}`;
      const late = consumers.find(({ gap, parkedCount }) => gap > 0 || parkedCount > 0);
      return late && `${service} lags: ${late.name} by ${late.gap} facts, ${late.parkedCount} parked`;
    }),
  );
  return reasons.find((reason) => reason !== undefined);
};

const unheldLease = async ({ clients, estate }: Looked): Promise<string | undefined> => {
  for (const { set } of estate.keys.values()) {
    const { leases } = await clients.disks.listLeases({ diskEncryptionSet: set });
    const bad = leases.find(({ state }) => state !== 'HELD');
    if (bad !== undefined) return `the lease of ${set} is ${bad.state}`;
  }
  return undefined;
};

/** A disk of the group without a good operation within the gap, over the last 2 s. */
const idleDisk = (
  { group, gapMs }: SteadyCheck & { readonly kind: 'io' },
  { estate, nowMs }: Looked,
  history: History,
): string | undefined => {
  // A flush needs no key, so it does not show I/O that a loss could end.
  const recent = history.filter(({ ok, op, completedAt }) => ok && op !== 'flush' && completedAt > nowMs - lookBackMs);
  for (const { group: own, disks } of estate.machines) {
    if (own !== group) continue;
    for (const { name } of disks) {
      const times = recent.filter(({ disk }) => disk === name).map(({ completedAt }) => completedAt);
      const marks = [nowMs - lookBackMs, ...times, nowMs];
      const longest = Math.max(...marks.map((mark, n) => mark - (marks[n - 1] ?? mark)));
      if (times.length === 0 || longest > gapMs)
        return `${name} had no good operation for ${longest} ms; ${gapMs} ms are allowed`;
    }
  }
  return undefined;
};
