import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { names } from '@interlock/rpc';
import { crashDisk, type Fault, pickHost } from '../faults/fault.ts';
import { group, plannedSets, setName } from '../workload/estate.ts';
import { attempt, type Stage } from '../workload/stage.ts';
import type { Action } from './action.ts';
import { createUnder } from './disks.ts';
import { rotate } from './headers.ts';
import { revokeForAWhile } from './keys.ts';

/** A set with disks on a host, if there is one. */
const setOn = ({ truth, random }: Stage, host: string) => {
  const sets = new Set([...truth.disks.disks.values()].flatMap((disk) => (disk.host === host ? disk.set : [])));
  const found = plannedSets.filter(({ id }) => sets.has(setName(id)));
  return found.length === 0 ? undefined : random.pick(found);
};

/** A disk host is away for longer than its lease, while a key of its disks is lost or rotated: it has ended, or control cannot reach it. */
const hostAway: Fault = {
  name: 'host away',
  weight: 12,
  needsHosts: true,
  strike(stage) {
    const { world, random, disturbances } = stage;
    const host = pickHost(stage);
    const lastsMs = 8_000 + random.fraction() * 25_000;
    if (random.chance(0.5)) crashDisk(stage, host, false, lastsMs);
    else {
      const others = ['disk', ...(random.chance(0.5) ? (['store', 'bus'] as const) : [])] as const;
      for (const other of others) world.faults.partition(host.part, other);
      const end = disturbances.begin(...host.disturbed);
      stage.later(lastsMs, async () => {
        for (const other of others) world.faults.heal(host.part, other);
        end();
      });
    }
    const set = setOn(stage, host.name);
    if (!set) return;
    stage.later(random.fraction() * 4_000, async () => {
      if (stage.isEnding()) return;
      if (random.chance(0.5)) await rotate(stage, setName(set.id));
      else await revokeForAWhile(stage, undefined, set);
    });
  },
};

/** Hosts cannot reach the vault, each for longer than the one before: the end of one outage is not the end of the others. */
const vaultAway: Fault = {
  name: 'two hosts without a vault',
  weight: 12,
  needsHosts: true,
  strike(stage) {
    const { world, random, disturbances, judge } = stage;
    const graceMs = judge.bounds.leaseTtlMs + world.settings.leases.unreachableGraceMs;
    const hosts = random.chance(0.7) ? world.diskHosts : [pickHost(stage)];
    // A sweep of compute sees each end.
    const gapMs = world.settings.sweepIntervalMs + 1_000;
    for (const [place, { part, disturbed }] of (random.chance(0.5) ? hosts : hosts.toReversed()).entries()) {
      world.faults.partition(part, 'key-vault');
      const end = disturbances.begin(...disturbed);
      stage.later(graceMs + place * gapMs + random.fraction() * 3_000, async () => {
        world.faults.heal(part, 'key-vault');
        end();
      });
    }
  },
};

/** An operator cordons or drains a host, deletes it if nothing is there, and takes it into service again. */
const cordoned: Fault = {
  name: 'cordon',
  weight: 8,
  needsHosts: true,
  strike(stage) {
    const { clients, random } = stage;
    const host = pickHost(stage);
    const name = names.diskHost.format({ diskHost: host.name });
    const cordonOnly = random.chance(0.4);
    stage.begin(async () => {
      const { value } = await attempt(stage, cordonOnly ? 'host.cordon' : 'host.drain', host.name, () =>
        clients.disks.drainDiskHost({ name, cordonOnly }),
      );
      if (value?.state !== 'DRAINED') return;
      const { outcome } = await attempt(stage, 'host.delete', host.name, () => clients.disks.deleteDiskHost({ name }));
      // It registers when it starts.
      if (outcome.kind === 'ok') crashDisk(stage, host);
    });
    stage.later(4_000 + random.fraction() * 15_000, async () => {
      await attempt(stage, 'host.resume', host.name, () => clients.disks.resumeDiskHost({ name }));
    });
  },
};

/** A disk host is cut off from control while it makes a disk: control calls the next host, which must not touch that disk. */
const cutWhileCreating: Fault = {
  name: 'cut during a creation',
  weight: 6,
  needsHosts: true,
  strike(stage) {
    const { world, random, disturbances } = stage;
    const host = pickHost(stage);
    const set = setOn(stage, host.name);
    if (!set) return;
    const end = disturbances.begin(...host.disturbed);
    const { delay, delayMs } = host.rates;
    // A creation takes no time otherwise.
    Object.assign(host.rates, { delay: 1, delayMs: 4_000 });
    for (let n = 0; n < 2; n += 1) stage.begin(() => createUnder(stage, set.id));
    stage.later(200 + random.fraction() * 1_000, async () => {
      Object.assign(host.rates, { delay, delayMs });
      world.faults.partition(host.part, 'disk');
    });
    stage.later(5_000 + random.fraction() * 10_000, async () => {
      world.faults.heal(host.part, 'disk');
      end();
    });
  },
};

/** What happens to one disk host of several. */
export const hostFaults: readonly Fault[] = [hostAway, vaultAway, cordoned, cutWhileCreating];

/** No machine of a history has this name: at the host that has a disk, a detach from it changes nothing. */
const noMachine = `${group}/virtualMachines/none`;

/**
 * A call reaches a host that has not the disk, as from a process that knows an earlier host of it: that host refuses. The disk may move
 * there while the call is under way.
 */
const misroute: Action = {
  name: 'host.misroute',
  weight: 2,
  needsHosts: true,
  async run(stage) {
    const { world, truth, random, log } = stage;
    const disks = [...truth.disks.disks.values()].filter(({ attachedTo }) => attachedTo !== '');
    if (disks.length === 0) return;
    const { name, host } = random.pick(disks);
    const others = world.diskHosts.filter((one) => one.name !== host);
    if (others.length === 0) return;
    const other = random.pick(others);
    const { client } = world.as(world.people.workloads.compute).connectTo('disk', other.address);
    const { outcome } = await attempt(stage, 'host.misroute', `detach ${name} at ${other.name}`, () =>
      client(DiskServiceDefinition).detachDisk({ name, virtualMachine: noMachine }),
    );
    if (outcome.kind === 'ok' && !truth.disks.hostsOf(name).has(other.name))
      log.violate('G5', `${other.name} refuses work on ${name}, which it never had`, 'it does not');
  },
};

/** Calls that only disk hosts receive. */
export const hostActions: readonly Action[] = [misroute];
