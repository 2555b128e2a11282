import { type Category, type Cause, Rejection } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import { type FleetVmHost, noteDrained } from './decider.ts';
import type { VmHostEvent } from './events.ts';
import { machinesAt } from './machines.ts';
import type { BlockedMachines } from './wire.ts';

/** Names of machines that are shown. */
const shownMax = 10;

/** The machines that stay on a draining host because a lost key would fail their next start; another host keeps all of its machines. */
export const blockedAt = async (
  vms: Parameters<typeof machinesAt>[0],
  host: string,
  { status }: FleetVmHost,
): Promise<BlockedMachines> => {
  if (status !== 'draining') return { count: 0, names: [] };
  const names: string[] = [];
  for await (const page of machinesAt(vms, host).pages()) {
    for (const { id, state } of page) {
      if (state.status === 'active' && state.power.state === 'running' && state.blocked.length > 0) names.push(id);
    }
  }
  return { count: names.length, names: names.slice(0, shownMax) };
};

/** Notes that no machine is on at a draining host any more; does nothing otherwise. No machine is placed at a draining host. */
export const finishDrain = async (
  parts: {
    readonly hosts: Pick<Category<FleetVmHost, VmHostEvent>, 'load' | 'transact'>;
    readonly vms: Parameters<typeof machinesAt>[0];
    readonly clock: Pick<Clock, 'now'>;
  },
  host: string,
  cause: Cause,
): Promise<void> => {
  const { hosts, vms, clock } = parts;
  const { state, version } = await hosts.load(host);
  if (state.status !== 'draining' || (await machinesAt(vms, host).count()) > 0) return;
  // It may have been resumed meanwhile, and have a new machine.
  await hosts
    .transact(host, noteDrained(clock.now()), cause, { expected: version, step: 'drain' })
    .catch((error: unknown) => {
      if (!(error instanceof Rejection) || error.reason !== 'ETAG_MISMATCH') throw error;
    });
};
