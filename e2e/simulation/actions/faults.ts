import type { Disturbed } from '@interlock/lab/judge/model/disturbances';
import type { Workload } from '@interlock/rpc';
import type { Part } from '../cloud/parts.ts';
import { allOfDisk, crashDisk, durationMs, during, type Fault, pickDiskProcess, pickHost } from '../faults/fault.ts';
import { plannedSets, setName } from '../workload/estate.ts';
import type { Stage } from '../workload/stage.ts';
import { copyUnder } from './disks.ts';
import { headerFaults } from './headers.ts';
import { hostFaults } from './hosts.ts';
import { revokeForAWhile } from './keys.ts';
import { vmHostFaults } from './vm-hosts.ts';

const services: readonly Workload[] = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'];

/** If the disk host's lease on its volumes lasts longer, a history has no time to wait for its end. */
const hostLeaseWaitMaxMs = 10_000;

/** A part of a pair that is cut: of disk, any of its processes. */
type CutPart = Workload | 'bus' | 'store' | 'outside';

const pairs: readonly (readonly [CutPart, CutPart])[] = [
  ['key-vault', 'bus'],
  ['disk-encryption-set', 'bus'],
  ['disk', 'bus'],
  ['compute', 'bus'],
  ['identity', 'bus'],
  ['disk', 'key-vault'],
  ['disk', 'identity'],
  ['disk', 'disk-encryption-set'],
  ['disk-encryption-set', 'disk'],
  ['key-vault', 'identity'],
  ['compute', 'disk'],
  ['compute', 'store'],
  // Listed twice, because the disk host renews its lease on the volumes in the store.
  ['disk', 'store'],
  ['disk', 'store'],
  ['key-vault', 'store'],
  ['disk-encryption-set', 'store'],
  ['outside', 'disk'],
  ['outside', 'compute'],
];

/** The parts that a cut separates, and what it disturbs: if a disk host is one of them, only that host. */
const cutOf = (stage: Stage): readonly [Part, Part, readonly Disturbed[]] => {
  const { world, random } = stage;
  if (world.hasControl && random.chance(0.25)) {
    const { part, disturbed } = pickHost(stage);
    return ['disk', part, disturbed];
  }
  const [a, b] = random.pick(pairs);
  if (a !== 'disk' && b !== 'disk') return [a, b, [a, b]];
  const other = a === 'disk' ? b : a;
  const { part, disturbed, host } = pickDiskProcess(stage);
  return [part, other, world.hasControl && host ? disturbed : [...disturbed, other]];
};

/** Raises rates for a time. */
const pulse = <Rates extends object>(rates: Rates, raised: Partial<Rates>): (() => void) => {
  const before = { ...rates };
  Object.assign(rates, raised);
  return () => {
    for (const key of Object.keys(raised) as (keyof Rates)[]) rates[key] = before[key];
  };
};

/**
 * The dates of keys refer to the clock of key-vault, so a change of that clock changes what is true. It is changed by less than
 * the lifetime of an identity token, so that it does not only refuse all callers.
 */
const strikeVaultClock = (stage: Stage): void => {
  const { world, random, truth } = stage;
  const set = (offsetMs: number): void => truth.losses.setClock(() => world.faults.jumpClock('key-vault', offsetMs));
  set((random.fraction() - 0.5) * 6_000);
  during(stage, ['key-vault'], () => set(0));
};

/** The process of a service that a fault strikes: of disk, any. */
const struckOf = <Service extends Workload>(stage: Stage, service: Service) =>
  service === 'disk'
    ? pickDiskProcess(stage)
    : { part: service as Workload, replica: 0, disturbed: [service] as readonly Disturbed[] };

/** Services with more than one working process; the one that partitions its work is listed more often. Volumes have one holder. */
const replicated = ['key-vault', 'disk-encryption-set', 'identity', 'compute', 'compute'] as const;

/** Copies that begin just before an isolation: some of them end after the bound of the loss, and before the isolation does. */
const isolatedCopies = 3;

export const faults: readonly Fault[] = [
  {
    name: 'replica',
    weight: 4,
    strike(stage) {
      // Two processes at the same time, one of which may end during its work: double or divided decisions must not show.
      const { world, random, disturbances } = stage;
      const service = random.pick(replicated);
      stage.begin(() => world.faults.restart(service, 1));
      if (random.chance(0.5)) return;
      // Either of the two: the second takes over the first one's work partitions.
      const replica = random.int(2);
      stage.later(5_000 + random.fraction() * 20_000, async () => {
        world.faults.crash(service, replica);
        // Its calls in progress get no response, and its work partitions wait until the other process takes them over.
        const end = disturbances.begin(service);
        if (replica === 1) {
          end();
          return;
        }
        await world.clock.sleep(random.fraction() * 10_000);
        await world.faults.restart(service, replica);
        disturbances.noteStart(service);
        end();
      });
    },
  },
  {
    name: 'partition',
    weight: 6,
    strike(stage) {
      const { world } = stage;
      const [a, b, disturbed] = cutOf(stage);
      world.faults.partition(a, b);
      during(stage, disturbed, () => world.faults.heal(a, b));
    },
  },
  {
    name: 'isolation',
    weight: 16,
    strike(stage) {
      // Hosts that receive no report of a loss have only their leases (G1).
      const { world, random } = stage;
      const others: readonly CutPart[] = ['key-vault', 'identity', 'disk-encryption-set', 'bus'];
      const ofDisk = world.hasControl && random.chance(0.5) ? [pickDiskProcess(stage)] : allOfDisk(stage);
      const cut = others.flatMap((other) => [
        ...ofDisk.map(({ part }) => [part, other] as const),
        ['compute', other] as const,
      ]);
      const disturbed = ofDisk.flatMap((one) => one.disturbed);
      const isolate = (set = random.pick(plannedSets)): void => {
        for (const [a, b] of cut) world.faults.partition(a, b);
        const heal = (): void => {
          for (const [a, b] of cut) world.faults.heal(a, b);
        };
        during(stage, [...disturbed, 'compute', ...others], heal, 18_000 + random.fraction() * 20_000);
        stage.later(random.fraction() * 2_000, () => revokeForAWhile(stage, 15_000 + random.fraction() * 15_000, set));
      };
      if (random.chance(0.3)) return isolate();
      // A copy that started before continues, and must not be recorded only because its start was allowed.
      const set = random.pick(plannedSets);
      for (let copies = 0; copies < isolatedCopies; copies += 1) stage.begin(() => copyUnder(stage, setName(set.id)));
      stage.begin(async () => {
        await world.clock.sleep(random.fraction() * 500);
        if (!stage.isEnding()) isolate(set);
      });
    },
  },
  {
    name: 'crash',
    weight: 4,
    strike(stage) {
      const { world, random, disturbances } = stage;
      const service = random.pick([...services, 'disk', 'disk'] as const);
      // Its successor on another machine cannot know that it has ended, so it waits for the end of the lease.
      const isShort = world.settings.hostLeaseTtlMs < hostLeaseWaitMaxMs;
      const { host, disturbed = [service] } = service === 'disk' ? pickDiskProcess(stage) : {};
      if (host) return crashDisk(stage, host, isShort && random.chance(0.5));
      world.faults.crash(service);
      const end = disturbances.begin(...disturbed);
      stage.later(random.fraction() * 3_000, async () => {
        await world.faults.restart(service);
        disturbances.noteStart(...disturbed);
        end();
      });
    },
  },
  {
    name: 'pause',
    weight: 3,
    strike(stage) {
      const { world, random } = stage;
      const service = random.pick(services);
      const lastsMs = durationMs(stage);
      const { replica, disturbed } = struckOf(stage, service);
      world.faults.pause(service, lastsMs, replica);
      during(stage, disturbed, () => undefined, lastsMs);
    },
  },
  {
    name: 'slow',
    weight: 2,
    strike(stage) {
      const { world, random } = stage;
      const service = random.pick(['key-vault', 'disk', 'identity'] as const);
      const { part, disturbed } = struckOf(stage, service);
      world.faults.slow(part, random.chance(0.3) ? 12_000 : random.fraction() * 2_000);
      during(stage, [...disturbed, 'calls'], () => world.faults.slow(part, 0));
    },
  },
  {
    name: 'throttling',
    weight: 4,
    strike(stage) {
      const { world, random } = stage;
      world.faults.throttle('key-vault', 200 + random.int(2_000));
      const lastsMs = 3_000 + random.fraction() * 12_000;
      during(stage, ['key-vault', 'calls'], () => world.faults.throttle('key-vault', undefined), lastsMs);
    },
  },
  {
    name: 'forgotten messages',
    weight: 2,
    strike(stage) {
      const { world, random } = stage;
      world.faults.forgetMessages(random.pick(services), 1 + random.int(5));
      during(stage, ['bus'], () => undefined, 2_000);
    },
  },
  {
    name: 'clock',
    weight: 2,
    strike(stage) {
      const { world, random } = stage;
      const service = random.pick(['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'] as const);
      if (service === 'key-vault') return strikeVaultClock(stage);
      const { replica, disturbed } = struckOf(stage, service);
      const only = service === 'disk' ? replica : undefined;
      if (random.chance(0.5)) world.faults.driftClock(service, random.int(400) - 200, replica);
      else world.faults.jumpClock(service, (random.fraction() - 0.5) * 20_000, only);
      during(stage, disturbed, () => world.faults.jumpClock(service, 0, only));
    },
  },
  {
    name: 'calls',
    weight: 3,
    strike(stage) {
      const { random, world } = stage;
      const { calls } = world.faults.rates;
      const raised = random.pick([
        { loseRequest: 0.1, loseAnswer: 0.1 },
        { delay: 0.5, delayMs: 300 },
        { duplicate: 0.2 },
        { loseAnswer: 0.2, delay: 0.3, delayMs: 100, duplicate: 0.1 },
      ]);
      stage.log.note(`fault calls: ${JSON.stringify(raised)}`);
      during(stage, ['calls'], pulse(calls, raised));
    },
  },
  {
    name: 'bus',
    weight: 3,
    strike(stage) {
      const { random, world } = stage;
      const raised = random.pick([
        { loseAfterAck: 0.2 },
        { loseAck: 0.3 },
        { duplicate: 0.4 },
        { delay: 0.5, delayMs: 3_000 },
        { reorder: 0.5, duplicate: 0.2 },
      ]);
      stage.log.note(`fault bus: ${JSON.stringify(raised)}`);
      during(stage, ['bus'], pulse(world.faults.rates.bus, raised));
    },
  },
  {
    name: 'stores',
    weight: 3,
    strike(stage) {
      const { random, world } = stage;
      const raised = random.pick([
        { refuse: 0.1 },
        { storeAndFail: 0.1 },
        { delay: 0.5, delayMs: 200 },
        { failRead: 0.05 },
        { lateWake: 0.5, delayMs: 500 },
      ]);
      stage.log.note(`fault stores: ${JSON.stringify(raised)}`);
      during(stage, ['store'], pulse(world.faults.rates.stores, raised));
    },
  },
  {
    name: 'storage',
    weight: 4,
    strike(stage) {
      // Full for a while, or failing; an operator restarts the host of failing storage.
      const { random, world } = stage;
      const host = pickHost(stage);
      const raised = random.pick([{ full: 1 }, { full: 0.3 }, { fail: 1 }, { fail: 0.3 }, { fail: 0.3 }]);
      stage.log.note(`fault storage of ${host.part}: ${JSON.stringify(raised)}`);
      Object.assign(host.rates, raised);
      const isStartedAnew = random.chance(0.4);
      const heal = (): void => {
        Object.assign(host.rates, { full: 0, fail: 0 });
        if (isStartedAnew && !stage.isEnding()) crashDisk(stage, host);
      };
      during(stage, world.hasControl ? host.disturbed : ['volumes'], heal);
    },
  },
  {
    name: 'volumes',
    weight: 2,
    strike(stage) {
      const { random, world } = stage;
      const host = pickHost(stage);
      const raised = { delay: 0.5, delayMs: random.pick([20, 500, 3_000]) };
      stage.log.note(`fault volumes of ${host.part}: ${JSON.stringify(raised)}`);
      during(stage, world.hasControl ? host.disturbed : ['volumes'], pulse(host.rates, raised));
    },
  },
  ...headerFaults,
  ...hostFaults,
  ...vmHostFaults,
];
