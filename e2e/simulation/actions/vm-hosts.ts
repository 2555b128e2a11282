import { names } from '@interlock/rpc';
import type { Part } from '../cloud/parts.ts';
import type { SimulatedVmHost } from '../cloud/vm-hosts.ts';
import { allOfDisk, durationMs, during, type Fault } from '../faults/fault.ts';
import { disturbedVmHost } from '../invariants/vm-hosts.ts';
import { attempt, type Stage } from '../workload/stage.ts';
import { revokeForAWhile } from './keys.ts';

/** One that is not gone for good. */
const pickVmHost = ({ world, random }: Stage): SimulatedVmHost =>
  random.pick(world.vmHosts.filter(({ isGone }) => !isGone));

const nameOf = ({ name: vmHost }: SimulatedVmHost): string => names.vmHost.format({ vmHost });

/** Ends the process of a VM host; its guests run on. @param isEnded whether they end with its machine, which another one replaces */
const crash = (stage: Stage, host: SimulatedVmHost, isEnded: boolean): (() => Promise<unknown>) => {
  const { faults } = stage.world;
  if (isEnded) faults.loseVmHost(host, true);
  else faults.crash('compute', host.replica.replica);
  return () => faults.restart('compute', host.replica.replica);
};

/** Cuts a VM host off. @param others what it does not reach */
const cutOff = ({ world }: Stage, { name }: SimulatedVmHost, others: readonly Part[]): (() => Promise<unknown>) => {
  for (const other of others) world.faults.partition(name, other);
  return async () => {
    for (const other of others) world.faults.heal(name, other);
  };
};

/** A VM host does not respond any more, in one of the ways in which that happens. @returns what makes it respond again */
const takeAway = (stage: Stage, host: SimulatedVmHost, lastsMs: number): (() => Promise<unknown>) => {
  const { random, world } = stage;
  const { replica } = host.replica;
  switch (random.int(5)) {
    case 0:
      return crash(stage, host, false);
    case 1:
      return crash(stage, host, true);
    case 2:
      world.faults.pause('compute', lastsMs, replica);
      return async () => world.faults.resume('compute', replica);
    case 3:
      return cutOff(stage, host, ['compute', 'identity']);
    default:
      return cutOff(stage, host, ['compute']);
  }
};

/** A VM host is away for a time. */
const away: Fault = {
  name: 'VM host away',
  weight: 10,
  needsVmHosts: true,
  strike(stage) {
    const host = pickVmHost(stage);
    const lastsMs = durationMs(stage);
    const comeBack = takeAway(stage, host, lastsMs);
    const end = stage.disturbances.begin(disturbedVmHost(host));
    stage.later(lastsMs, async () => {
      await comeBack();
      end();
    });
  },
};

/**
 * Every VM host is away, or one, while a key is lost and machines are stopped: the disks of their guests are closed instead. In half of
 * the cases compute does not reach the disks either for a time.
 */
const awayDuringLoss: Fault = {
  name: 'VM host away during a loss',
  weight: 12,
  needsVmHosts: true,
  strike(stage) {
    const { world, random, disturbances } = stage;
    const hosts = random.chance(0.5) ? world.vmHosts.filter(({ isGone }) => !isGone) : [pickVmHost(stage)];
    const lastsMs = 8_000 + random.fraction() * 15_000;
    const back = hosts.map((host) => takeAway(stage, host, lastsMs));
    const end = disturbances.begin(...hosts.map(disturbedVmHost));
    stage.later(lastsMs, async () => {
      for (const comeBack of back) await comeBack();
      end();
    });
    if (random.chance(0.5)) {
      // What closes the disks: control, and without it the only process with volumes.
      const parts = allOfDisk(stage).map(({ part }) => part);
      for (const part of parts) world.faults.partition('compute', part);
      during(
        stage,
        ['disk', 'compute'],
        () => {
          for (const part of parts) world.faults.heal('compute', part);
        },
        random.fraction() * lastsMs,
      );
    }
    for (let losses = 0; losses < 2; losses += 1)
      stage.later(random.fraction() * 4_000, async () => {
        if (!stage.isEnding()) await revokeForAWhile(stage);
      });
    for (let stops = 0; stops < 2; stops += 1) stage.later(random.fraction() * 6_000, () => stopOne(stage));
  },
};

/** A user stops a machine. */
const stopOne = async (stage: Stage): Promise<void> => {
  const { clients } = stage;
  const name = pickRunning(stage);
  if (name === undefined) return;
  await attempt(stage, 'vm.powerOff', name, () => clients.compute.powerOffVirtualMachine({ name }));
};

/**
 * A VM host is lost: an operator says so, or it does not renew for too long. In some cases it is gone for good. In others it only was
 * away, and comes back with its guests.
 */
const lost: Fault = {
  name: 'VM host lost',
  weight: 14,
  needsVmHosts: true,
  strike(stage) {
    const { world, random, disturbances, clients } = stage;
    const host = pickVmHost(stage);
    // Machines must have where to start at the end.
    const isForGood = random.chance(0.4) && world.vmHosts.filter(({ isGone }) => !isGone).length > 1;
    const { lostMs } = world.settings.vmHosts;
    const isDeclared = isForGood || random.chance(0.5);
    const lastsMs = isDeclared ? 3_000 + random.fraction() * 10_000 : lostMs + random.fraction() * 10_000;
    const end = disturbances.begin(disturbedVmHost(host));
    const comeBack = isForGood ? undefined : takeAway(stage, host, lastsMs);
    if (isForGood) world.faults.loseVmHost(host, false);
    if (isDeclared)
      stage.later(random.fraction() * 3_000, async () => {
        const name = nameOf(host);
        await attempt(stage, 'vmHost.declareLost', name, () => clients.compute.declareVmHostLost({ name }));
      });
    stage.later(lastsMs, async () => {
      await comeBack?.();
      end();
    });
  },
};

/** An operator cordons or drains a VM host, and resumes it later. */
const drained: Fault = {
  name: 'VM host drained',
  weight: 10,
  needsVmHosts: true,
  strike(stage) {
    const { clients, random } = stage;
    const host = pickVmHost(stage);
    const name = nameOf(host);
    const cordonOnly = random.chance(0.3);
    stage.begin(() =>
      attempt(stage, cordonOnly ? 'vmHost.cordon' : 'vmHost.drain', name, () =>
        clients.compute.drainVmHost({ name, cordonOnly }),
      ),
    );
    stage.later(4_000 + random.fraction() * 15_000, () =>
      attempt(stage, 'vmHost.resume', name, () => clients.compute.resumeVmHost({ name })),
    );
  },
};

/** Attempts of starts and stops arrive at VM hosts after later ones. */
const lateCalls: Fault = {
  name: 'late calls of VM hosts',
  weight: 12,
  needsVmHosts: true,
  strike(stage) {
    const { world, random, log } = stage;
    const { calls } = world.faults.rates;
    log.note('fault calls: attempts arrive late at VM hosts');
    Object.assign(calls, { late: 0.5, lateMs: 5_000 });
    const lastsMs = 8_000 + random.fraction() * 10_000;
    // Nothing else fails by it, so it excuses nothing.
    stage.later(lastsMs, async () => void Object.assign(calls, { late: 0, lateMs: 0 }));
    for (let stops = 0; stops < 4; stops += 1) stage.later(random.fraction() * lastsMs, () => restartOne(stage));
  },
};

/** A user stops a machine and starts it at once, or restarts it. */
const restartOne = async (stage: Stage): Promise<void> => {
  if (stage.isEnding()) return;
  const { clients, random } = stage;
  const { compute } = clients;
  const name = pickRunning(stage);
  if (name === undefined) return;
  if (random.chance(0.5)) {
    const requestId = random.uuid();
    await attempt(stage, 'vm.restart', name, () => compute.restartVirtualMachine({ name, requestId }));
    return;
  }
  await attempt(stage, 'vm.powerOff', name, () => compute.powerOffVirtualMachine({ name }));
  await attempt(stage, 'vm.start', name, () => compute.startVirtualMachine({ name }));
};

const pickRunning = ({ truth, random }: Stage): string | undefined => {
  const running = [...truth.machines.machines.values()].filter(({ power }) => power === 'running');
  return running.length === 0 ? undefined : random.pick(running).name;
};

/** What happens to one VM host of several, or to all. */
export const vmHostFaults: readonly Fault[] = [away, awayDuringLoss, lost, drained, lateCalls];

/** Takes every VM host into service again, after all faults: what was requested during one may have been lost. */
export const resumeVmHosts = async (stage: Stage): Promise<void> => {
  const { world, clients } = stage;
  for (const host of world.vmHosts.filter(({ isGone }) => !isGone)) {
    const name = nameOf(host);
    await attempt(stage, 'vmHost.resume', name, () => clients.compute.resumeVmHost({ name }));
  }
};
