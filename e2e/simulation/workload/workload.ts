import { setOperationsOnWire } from '@interlock/access/permissions';
import { sectorCells } from '@interlock/lab/judge/model/content';
import { pickByWeight } from '../actions/action.ts';
import { actions } from '../actions/actions.ts';
import { faults } from '../actions/faults.ts';
import { revokeForAWhile } from '../actions/keys.ts';
import { startTogether } from '../actions/machines.ts';
import { resumeVmHosts } from '../actions/vm-hosts.ts';
import { keyOf, plannedSets, plannedVaults, reached, setName, vaultOf, waitUntil } from './estate.ts';
import { grant, openNetwork, renewIdentity, restoreModel, setOperations } from './grants.ts';
import { type DataAccess, readRange } from './io.ts';
import { sectorsInUse } from './sectors.ts';
import { attempt, type Stage } from './stage.ts';

/** How a history is paced. */
export interface Pace {
  /** Actions that start, including I/O of guests, before the history ends. The end takes about 80 more. */
  readonly actions: number;
  /** Mean time between two of them, in milliseconds; in a single history up to two fifths less or more. */
  readonly everyMs: number;
  /** Faults that start. */
  readonly faults: number;
}

export const usualPace: Pace = { actions: 140, everyMs: 210, faults: 4 };

/** Time between two checks of everything while nothing starts, in milliseconds. */
const lookMs = 250;

/** Part of the actions during which faults start: a fault near the last of them would affect almost nothing. */
const faultsWithin = 0.75;

/** The least number of fault kinds in every long enough history, because simultaneous faults are the hard case. */
const leastKinds = 3;

const beginFault = (stage: Stage): void => {
  const { struck, world } = stage;
  const hasVmHosts = world.vmHosts.length > 0;
  const all = faults.filter(
    ({ needsHosts = false, needsVmHosts = false }) =>
      (world.hasControl || !needsHosts) && (hasVmHosts || !needsVmHosts),
  );
  // Otherwise every third history with VM hosts would have no fault of one.
  const isFirstOfVmHosts = hasVmHosts && struck.size === 0;
  const possible = isFirstOfVmHosts ? all.filter(({ needsVmHosts }) => needsVmHosts === true) : all;
  const unused = possible.filter(({ name }) => !struck.has(name));
  const fault = pickByWeight(stage, struck.size < leastKinds ? unused : possible);
  struck.add(fault.name);
  fault.strike(stage);
};

/** Acts at random until this many actions have started, with faults in between. */
export const act = async (stage: Stage, pace: Pace, untilAction: number): Promise<void> => {
  const { world, random, judge, log } = stage;
  const strikes = new Set<number>();
  const lastStrike = Math.ceil(pace.actions * faultsWithin);
  while (strikes.size < Math.min(pace.faults, pace.actions / 2)) strikes.add(random.int(lastStrike));
  // Simultaneous faults need little time between two actions; faults that outlast a lease need much.
  const everyMs = pace.everyMs * (0.6 + 0.8 * world.random.fork('pace').fraction());
  // Each history has at least one revocation that its faults may meet.
  const certain = 20 + random.int(60);
  const possible = actions.filter(({ needsHosts = false }) => world.hasControl || !needsHosts);
  for (let step = 0; log.actions.length < Math.min(pace.actions, untilAction); step += 1) {
    if (strikes.has(step)) beginFault(stage);
    if (random.chance(0.02)) stage.begin(() => judge.disturb());
    if (step === certain) stage.begin(() => revokeForAWhile(stage));
    const { run } = pickByWeight(stage, possible);
    stage.begin(() => run(stage));
    await world.clock.sleep(-Math.log(1 - random.fraction()) * everyMs);
    judge.check();
    if (log.violation) return;
  }
};

/**
 * Lets time pass until no judge finds anything in progress, and judges that. Most histories then continue at once: only heartbeats
 * and renewals of leases happen in the rest of the time, which takes a tenth of a whole history to play.
 * @param leastMs before the first check @param mostMs by then it must be so
 */
const calm = async ({ world, judge, isPatient }: Stage, leastMs: number, mostMs: number): Promise<void> => {
  for (let passedMs = isPatient ? mostMs : leastMs, waitMs = passedMs; ; passedMs += waitMs) {
    await world.clock.sleep(waitMs);
    if (passedMs >= mostMs) return judge.checkSettled();
    if (await judge.isSettled()) return;
    waitMs = Math.min(Math.max(passedMs, 1_000), mostMs - passedMs);
  }
};

/** Ends every fault. */
const heal = async ({ world, judge, log, truth }: Stage): Promise<void> => {
  truth.losses.setClock(() => world.faults.jumpClock('key-vault', 0));
  await world.faults.healAll();
  judge.heal();
  log.note('every fault is over');
  world.guests.slowToStart.clear();
  world.guests.slowToStop.clear();
};

/** Lets time pass, and checks everything repeatedly. */
const watch = async ({ world, judge, log }: Stage, forMs: number): Promise<void> => {
  for (let leftMs = forMs; leftMs > 0 && !log.violation; leftMs -= lookMs) {
    await world.clock.sleep(Math.min(lookMs, leftMs));
    judge.check();
  }
};

/** Ends every fault and all work in progress, and waits until no judge finds anything in progress. */
export const settle = async (stage: Stage & { end(): Promise<void> }): Promise<void> => {
  const { world, judge } = stage;
  // Some callers wait until their deadline for lost responses. Earlier facts, and refusals that cause more work, arrive in that time.
  await Promise.all([stage.end(), heal(stage), watch(stage, 3_000)]);
  const { leaseTtlMs, stopMs } = judge.bounds;
  await calm(stage, 0, leaseTtlMs + world.settings.authzTtlMs + stopMs);
};

/** Waits until every set may use the keys to which access was restored. */
export const hear = async (stage: Stage): Promise<void> => {
  const { judge, world } = stage;
  const { authzTtlMs } = world.settings;
  // Earlier decisions of identity are used for their cache time, whatever is shown.
  await calm(stage, authzTtlMs + 1_000, judge.bounds.leaseTtlMs + authzTtlMs);
};

/** Restores all access, so that everything that can work again does (G5). */
const restoreEverything = async (stage: Stage): Promise<void> => {
  const { clients, truth } = stage;
  const { keyVault } = clients;
  stage.log.note('everything that was taken is given back');
  await resumeVmHosts(stage);
  for (const { id } of plannedVaults) {
    const name = `vaults/${id}`;
    await attempt(stage, 'vault.recover', name, () => keyVault.recoverVault({ name }));
    await restoreModel(stage, name);
    await openNetwork(stage, name);
  }
  const versions = truth.losses.access.keyVersions();
  for (const name of new Set(versions.map(keyOf))) {
    await attempt(stage, 'key.recover', name, () => keyVault.recoverKey({ name }));
  }
  for (const name of versions) {
    await attempt(stage, 'key.enable', name, () => keyVault.enableKeyVersion({ name }));
    await attempt(stage, 'key.setDates', name, () => keyVault.setKeyVersionDates({ name }));
    await setOperations(stage, name, setOperationsOnWire);
  }
  for (const planned of plannedSets) {
    const set = truth.losses.sets.get(setName(planned.id));
    if (!set) continue;
    const isGone = set.principal === '' || truth.losses.access.isDeleted(set.principal);
    if (isGone) await renewIdentity(stage, planned);
    else {
      const vaults = new Set([set.activeKey, ...set.previousKeys].map(vaultOf));
      for (const vault of vaults) await grant(stage, vault, set.principal);
    }
  }
};

/** How long a disk host receives no messages after access is restored, in milliseconds. */
const gapMs = 2_000;

/**
 * Restores all access; in most histories with disk hosts one of them receives no messages meanwhile. It must read in the store that
 * access is restored (G7): no start of a machine shows it.
 */
export const restoreWithGap = async (stage: Stage): Promise<void> => {
  const { world } = stage;
  const random = world.random.fork('gap');
  const host = world.hasControl && random.chance(0.7) ? random.pick(world.diskHosts) : undefined;
  if (host) world.faults.partition(host.part, 'bus');
  await restoreEverything(stage);
  if (!host) return;
  await world.clock.sleep(gapMs);
  world.faults.heal(host.part, 'bus');
};

/** Starts every machine that is off and can be started. Each must run. */
export const startEverything = async (
  stage: Pick<Stage, 'truth' | 'clients' | 'log' | 'world' | 'judge'>,
): Promise<void> => {
  const { truth, clients, log, world } = stage;
  const { machines } = truth.machines;
  // A start while the machine is being stopped is refused, and tried again: a deallocation that faults delayed may end late.
  // A start that faults delayed may time out as late. To request another start before that has no effect.
  const isBusy = () =>
    [...machines.values()].some(
      ({ power }) => power === 'stopping' || power === 'deallocating' || power === 'starting',
    );
  await reached(() => waitUntil(world, 'what is being stopped or started is off or on', async () => !isBusy()));
  // A direct access whose response was lost exists nevertheless, and a disk has one holder.
  for (const { name, open, attachedTo } of [...truth.disks.disks.values()]) {
    if (open?.by === 'user' && attachedTo !== '') {
      await attempt(stage, 'disk.endExport', name, () => clients.disks.endAccess({ name }));
    }
  }
  const expected: string[] = [];
  const off: string[] = [];
  for (const machine of machines.values()) {
    const { name, power, disks } = machine;
    const isStartable = [...disks.values()].some(({ isOs }) => isOs);
    const isGone = [...disks.keys()].some((disk) => {
      const known = truth.disks.disks.get(disk);
      return known !== undefined && truth.blockers(known, 'opening').length > 0;
    });
    if (!isStartable || isGone) continue;
    expected.push(name);
    if (power !== 'running') off.push(name);
  }
  await startOnceFree(stage, off);
  // A deletion or creation that faults delayed may end only now. A deleted machine need not run.
  const missing = () => expected.filter((name) => machines.has(name) && !world.guests.guests.has(name));
  const isUp = await reached(() =>
    waitUntil(world, 'machines run', async () => {
      await startWhatFoundNoHost(stage, missing());
      return missing().length === 0;
    }),
  );
  if (isUp) return;
  for (const name of missing()) {
    const { powerState, failure } = await clients.compute.getVirtualMachine({ name });
    log.violate('G5', `${name} can be started once every key is back`, `${powerState}: ${failure?.message ?? ''}`);
  }
};

/**
 * A start finds no VM host for some seconds after the only one did not respond to an earlier start. Its refusal says to try again, so a
 * user does.
 */
const startWhatFoundNoHost = async (
  stage: Pick<Stage, 'truth' | 'clients' | 'log' | 'judge' | 'world'>,
  names: readonly string[],
): Promise<void> => {
  const { clients, truth, world } = stage;
  if (world.vmHosts.length === 0) return;
  const off = names.filter((name) =>
    ['stopped', 'deallocated'].includes(truth.machines.machines.get(name)?.power ?? ''),
  );
  for (const name of off) {
    const { failure } = await clients.compute.getVirtualMachine({ name });
    if (failure?.code === 'NO_VM_HOST_OPEN') await startOnceFree(stage, [name]);
  }
};

/** Starts machines; one that another operation still holds, for example a detach that faults delayed, as soon as that has ended. */
const startOnceFree = async (
  stage: Pick<Stage, 'clients' | 'log' | 'judge' | 'world'>,
  names: readonly string[],
): Promise<void> => {
  let left = names;
  for (let attempts = 60; left.length > 0 && attempts > 0; attempts--) {
    left = await startTogether(stage, left);
    if (left.length > 0) await stage.world.clock.sleep(1_000);
  }
};

/** Data under a purged key is never read again, and the refusal gives that reason (CMK-108). */
export const provePurged = async (stage: Stage): Promise<void> => {
  const { truth, clients, log, world } = stage;
  for (const disk of [...truth.disks.disks.values()]) {
    const { name, attachedTo } = disk;
    if (disk.isSnapshot || disk.isDeleting || !truth.isGone(disk)) continue;
    if (attachedTo === '') {
      const { outcome } = await attempt(stage, 'disk.export', name, () =>
        clients.disks.beginAccess({ name, accessLevel: 'READ', durationSeconds: 60 }),
      );
      if (outcome.kind === 'refused' && outcome.reason === 'KEY_PURGED') continue;
      log.violate(
        'G10',
        `${name} is under a purged key: reading it is refused with KEY_PURGED`,
        JSON.stringify(outcome),
      );
      return;
    }
    const machine = truth.machines.machines.get(attachedTo);
    if (machine?.power !== 'stopped' && machine?.power !== 'deallocated') continue;
    await attempt(stage, 'vm.start', attachedTo, () => clients.compute.startVirtualMachine({ name: attachedTo }));
    await reached(() => waitUntil(world, 'the start has ended', async () => machine.power !== 'starting'));
    const { failure } = await clients.compute.getVirtualMachine({ name: attachedTo });
    if (!world.guests.guests.has(attachedTo) && failure?.code === 'KEY_PURGED') continue;
    log.violate(
      'G4',
      `${attachedTo} does not start without ${name}, whose key was purged, and says so`,
      failure?.code ?? 'it runs',
    );
    return;
  }
};

/** Reads every written byte on every disk whose key is usable (G5). */
export const readEverything = async (stage: Stage): Promise<void> => {
  const { world, truth, clients } = stage;
  const read = async (access: DataAccess): Promise<void> => {
    truth.contentOf(access.disk).endSession();
    const range = { first: 0, count: sectorsInUse * sectorCells };
    const isRead = await readRange(stage, access, range);
    if (!isRead && !stage.log.violation) {
      stage.log.violate('G5', `${access.disk} can be read once its key is back`, 'it cannot');
    }
  };
  for (const [vm, disks] of [...world.guests.guests]) {
    for (const { disk, dataAddress: address, accessToken: token } of disks) {
      // A guest whose VM host was away keeps a disk that was detached, without access to it.
      if (truth.disks.disks.get(disk)?.attachedTo !== vm) continue;
      await read({ disk, address, token, by: 'machine', who: vm });
    }
  }
  for (const disk of [...truth.disks.disks.values()]) {
    const { name, isSnapshot, attachedTo, isDeleting } = disk;
    if (isSnapshot || attachedTo !== '' || isDeleting || truth.blockers(disk, 'opening').length > 0) continue;
    await attempt(stage, 'disk.endExport', name, () => clients.disks.endAccess({ name }));
    const { value } = await attempt(stage, 'disk.export', name, () =>
      clients.disks.beginAccess({ name, accessLevel: 'READ', durationSeconds: 60 }),
    );
    if (value)
      await read({ disk: name, address: value.dataAddress, token: value.accessToken, by: 'user', who: 'a user' });
    else stage.log.violate('G5', `${name} can be read once its key is back`, 'no access is given');
  }
};
