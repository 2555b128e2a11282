import type { Violation } from '@interlock/lab/judge/findings';
import { Disturbances } from '@interlock/lab/judge/model/disturbances';
import { seededRandom } from '@interlock/runtime';
import { type SimulatedSettings, simulatedSettings } from '../cloud/deployment.ts';
import { type Committed, createSimulatedCloud, type SimulatedCloud } from '../cloud/simulated-cloud.ts';
import { Judge } from '../invariants/judge.ts';
import { openTruth } from '../truth/truth.ts';
import { clientsOf, openEstate } from '../workload/estate.ts';
import { loseHost } from '../workload/lost-host.ts';
import type { Stage } from '../workload/stage.ts';
import {
  act,
  hear,
  type Pace,
  provePurged,
  readEverything,
  restoreWithGap,
  settle,
  startEverything,
  usualPace,
} from '../workload/workload.ts';
import { estateImage } from './estate-image.ts';
import { type HistoryLog, openHistoryLog } from './history-log.ts';
import { WorkQueue } from './work-queue.ts';

export interface HistoryOptions {
  readonly seed: number;
  readonly pace?: Partial<Pace>;
  /** Starts no action from this number on, and finishes the history. */
  readonly untilAction?: number | undefined;
  readonly settings?: Partial<SimulatedSettings>;
  /** Disk hosts beside a control process; by default as the seed says. */
  readonly diskHosts?: number | undefined;
  /** VM hosts; by default as the seed says. */
  readonly vmHosts?: number | undefined;
}

/** A history that was played to its end, or to its first violation. */
export interface PlayedHistory {
  readonly seed: number;
  readonly machines: number;
  readonly actions: number;
  /** Kinds of fault that started, of those in `actions/faults.ts`. */
  readonly faultKinds: number;
  readonly revocations: number;
  readonly returns: number;
  readonly virtualMs: number;
  readonly violation: Violation | undefined;
  /** What happened, one line each; the same for the same seed, byte for byte. */
  lines(): readonly string[];
}

/** Share of histories that wait their full time at the end. */
const patientShare = 1 / 7;

/**
 * How long the disk host's lease on its volumes lasts in every second history, by its seed, in milliseconds: shorter than most
 * cuts and pauses, so that it ends, and short enough for another machine to wait for its end.
 */
const shortHostLeaseMs = 5_000;

/**
 * How long a vault may be unreachable in half of the histories with disk hosts until a host reports that as an outage, in milliseconds:
 * with the usual time most histories end first.
 */
const shortGraceMs = 3_000;

/** Share of histories in which one process of disk has all volumes; the others have a control process and disk hosts. */
const oneProcessShare = 0.5;
/** Most disk hosts. */
const diskHostsMax = 4;

/** How many disk hosts a history has beside a control process; 0: none, one process of disk has all volumes. */
export const diskHostsOf = (seed: number): number => {
  const random = seededRandom(seed).fork('disk hosts');
  return random.chance(oneProcessShare) ? 0 : 1 + random.int(diskHostsMax);
};

/** Share of histories in which VM hosts run the guests; in the others compute runs them. */
const vmHostsShare = 1 / 3;
/** Most VM hosts. */
const vmHostsMax = 3;

/** How many VM hosts a history has; 0: compute runs the guests. */
export const vmHostsOf = (seed: number): number => {
  const random = seededRandom(seed).fork('VM hosts');
  return random.chance(vmHostsShare) ? 1 + random.int(vmHostsMax) : 0;
};

/** Share of histories in which copies may take long. */
const slowCopiesShare = 0.75;

/** Whether a fact of a commit gets a line: decisions of services do, their progress does not. */
const isWorthALine = (type: string): boolean => !type.startsWith('Rotation') || type === 'RotationFinished';

/** The terms of a history that its seed chooses. */
const termsOf = (seed: number, diskHosts: number): Partial<SimulatedSettings> => {
  const hasShortGrace = diskHosts > 0 && seededRandom(seed).fork('grace').chance(0.5);
  const { leases } = simulatedSettings;
  return {
    ...(seed % 2 === 0 ? { hostLeaseTtlMs: shortHostLeaseMs } : {}),
    ...(hasShortGrace ? { leases: { ...leases, unreachableGraceMs: shortGraceMs } } : {}),
  };
};

/** Plays one history: an estate, users and guests who act on it at random, faults, and what must be true at the end. */
export const playHistory = async (options: HistoryOptions): Promise<PlayedHistory> => {
  const { seed, settings, untilAction = Number.POSITIVE_INFINITY } = options;
  const diskHosts = options.diskHosts ?? diskHostsOf(seed);
  const vmHosts = options.vmHosts ?? vmHostsOf(seed);
  const { cloud: image, commits } = await estateImage(diskHosts);
  const world = await createSimulatedCloud({
    ...{ seed, diskHosts, vmHosts, image },
    settings: { ...termsOf(seed, diskHosts), ...settings },
  });
  const log = openHistoryLog(() => world.clock.monotonicMs());
  const stage = openStage(world, log);
  for (const committed of commits) stage.truth.apply(committed);
  try {
    await world.run(async () => {
      await openEstate(world);
      if (world.random.fork('copies').chance(slowCopiesShare)) world.faults.slowCopies();
      await act(stage, { ...usualPace, ...options.pace }, untilAction);
      for (const phase of phases) {
        if (log.violation) return;
        await phase(stage);
      }
    });
  } finally {
    world.close();
  }
  return {
    seed,
    machines: stage.truth.machines.machines.size,
    actions: log.actions.length,
    faultKinds: stage.struck.size,
    ...stage.counts,
    virtualMs: world.clock.monotonicMs(),
    violation: log.violation,
    lines: () => merged(log.lines(), world.log),
  };
};

/** How a history ends. */
const phases: readonly ((stage: HistoryStage) => Promise<void>)[] = [
  settle,
  restoreWithGap,
  hear,
  startEverything,
  readEverything,
  provePurged,
  ({ judge }) => judge.checkSettled(),
  loseHost,
  ({ judge }) => judge.checkEnd(),
];

/** Merges two logs by the seconds at the start of each line. */
const merged = (some: readonly string[], others: readonly string[]): readonly string[] =>
  [...some, ...others].toSorted((a, b) => Number.parseFloat(a) - Number.parseFloat(b));

/** A stage, and the end of its actions. */
type HistoryStage = Stage & Pick<WorkQueue, 'end'>;

/** Creates the stage. */
const openStage = (world: SimulatedCloud, log: HistoryLog): HistoryStage => {
  const truth = openTruth(world);
  const disturbances = new Disturbances(() => world.clock.monotonicMs());
  const clients = clientsOf(world);
  const judge = new Judge({ world, log, truth, disturbances, clients });
  const work = new WorkQueue(world.clock);
  let number = 0;
  world.onCommit((committed) => onCommit({ truth, log, judge }, committed));
  return {
    world,
    clients,
    log,
    truth,
    judge,
    disturbances,
    random: world.random.fork('workload'),
    counts: { revocations: 0, returns: 0 },
    struck: new Set(),
    isPatient: world.random.fork('patience').chance(patientShare),
    begin: (act) => work.begin(act),
    later: (delayMs, act) => work.later(delayMs, act),
    isEnding: () => work.isEnding,
    nextNumber: () => {
      number += 1;
      return number;
    },
    end: () => work.end(),
  };
};

const onCommit = ({ truth, log, judge }: Pick<Stage, 'truth' | 'log' | 'judge'>, committed: Committed): void => {
  const { service, events } = committed;
  const copies = truth.apply(committed);
  for (const { stream, type } of events) if (isWorthALine(type)) log.fact(`${service} ${type} ${stream}`);
  judge.onCommit(committed, copies);
  if (service !== 'disk') return;
  for (const { stream, type } of events) {
    // An open waits for the writes of the previous session, so none of them can take effect afterwards.
    if (type !== 'DiskOpened' && type !== 'AccessBegun') continue;
    truth.contents.get(stream.slice('disk-'.length))?.endSession();
  }
};
