import type { SimulatedSettings } from '../cloud/deployment.ts';
import { type Committed, createSimulatedCloud, type SimulatedCloud } from '../cloud/simulated-cloud.ts';
import { openJudge } from '../invariants/invariants.ts';
import { openTruth } from '../oracle/oracle.ts';
import { clientsOf, openEstate } from '../workload/estate.ts';
import type { Stage } from '../workload/stage.ts';
import { openTroubles } from '../workload/troubles.ts';
import {
  act,
  hear,
  type Pace,
  provePurged,
  readEverything,
  restoreEverything,
  settle,
  startEverything,
  usualPace,
} from '../workload/workload.ts';
import { estateImage } from './estate-image.ts';
import { type HistoryLog, openHistoryLog, type Violation } from './history-log.ts';

export interface HistoryOptions {
  readonly seed: number;
  readonly pace?: Partial<Pace>;
  /** Stops acting before this action, and brings the history to its end from there. */
  readonly untilAction?: number;
  readonly settings?: Partial<SimulatedSettings>;
}

/** A history that was played to its end, or to its first violation. */
export interface PlayedHistory {
  readonly seed: number;
  readonly machines: number;
  readonly actions: number;
  /** Kinds of fault that were begun, of those in `actions/faults.ts`. */
  readonly faultKinds: number;
  readonly revocations: number;
  readonly returns: number;
  readonly virtualMs: number;
  readonly violation: Violation | undefined;
  /** What happened, one line each; the same for the same seed, byte for byte. */
  lines(): readonly string[];
}

/** Share of histories that wait their whole time at the end. */
const patientShare = 1 / 7;

/**
 * What the lease of the disk host on its volumes is worth in every second history, by its seed, in milliseconds: less than most
 * cuts and pauses last, so that it ends, and little enough for another machine to wait it out.
 */
const shortHostLeaseMs = 5_000;

/** Share of histories in which copies may take long. */
const slowCopiesShare = 0.75;

/** Facts of a commit worth a line: what services decided, not how far they have come. */
const isWorthALine = (type: string): boolean => !type.startsWith('Rotation') || type === 'RotationFinished';

/** Plays one history: an estate, people and guests who act on it at random, faults, and what must be true at the end. */
export const playHistory = async (options: HistoryOptions): Promise<PlayedHistory> => {
  const { seed, settings, untilAction = Number.POSITIVE_INFINITY } = options;
  const { cloud: image, commits } = await estateImage();
  const lease = seed % 2 === 0 ? { hostLeaseTtlMs: shortHostLeaseMs } : {};
  const world = await createSimulatedCloud({ seed, image, settings: { ...lease, ...settings } });
  const log = openHistoryLog(() => world.clock.monotonicMs());
  const stage = openStage(world, log);
  for (const committed of commits) stage.truth.apply(committed);
  try {
    await world.run(async () => {
      await openEstate(world);
      if (world.random.fork('copies').chance(slowCopiesShare)) world.faults.slowCopies();
      await act(stage, { ...usualPace, ...options.pace }, untilAction);
      const { checkSettled, checkEnd } = stage.judge;
      const phases = [
        settle,
        restoreEverything,
        hear,
        startEverything,
        readEverything,
        provePurged,
        checkSettled,
        checkEnd,
      ];
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

/** Two logs as one, by the seconds in front of each line. */
const merged = (some: readonly string[], others: readonly string[]): readonly string[] =>
  [...some, ...others].toSorted((a, b) => Number.parseFloat(a) - Number.parseFloat(b));

/** Puts the stage together. `end` waits for what was begun; what was planned for later is done at once. */
const openStage = (world: SimulatedCloud, log: HistoryLog): Stage & { end(): Promise<void> } => {
  const truth = openTruth(world);
  const troubles = openTroubles(world);
  const clients = clientsOf(world);
  const judge = openJudge({ world, log, truth, troubles, clients });
  const running = new Set<Promise<unknown>>();
  const planned = new Set<() => void>();
  const mistakes: unknown[] = [];
  let number = 0;
  let isEnding = false;

  world.onCommit((committed: Committed) => {
    const copies = truth.apply(committed);
    for (const { stream, type } of committed.events) {
      if (isWorthALine(type)) log.fact(`${committed.service} ${type} ${stream}`);
    }
    judge.onCommit(committed, copies);
    if (committed.service === 'disk') {
      for (const { stream, type } of committed.events) {
        // An open waits for the writes of the session before, so none of them can take effect afterwards.
        if (type === 'DiskOpened' || type === 'AccessBegun')
          truth.contents.get(stream.slice('disk-'.length))?.endSession();
      }
    }
  });

  const begin: Stage['begin'] = (work) => {
    // An action answers whatever a service does: what it throws is a mistake of the simulation, and ends the history.
    const done: Promise<unknown> = work().then(
      () => running.delete(done),
      (error: unknown) => {
        running.delete(done);
        mistakes.push(error);
      },
    );
    running.add(done);
  };
  return {
    world,
    clients,
    log,
    truth,
    judge,
    troubles,
    random: world.random.fork('workload'),
    counts: { revocations: 0, returns: 0 },
    struck: new Set(),
    isPatient: world.random.fork('patience').chance(patientShare),
    begin,
    later(delayMs, work) {
      const start = (): void => {
        if (planned.delete(start)) begin(work);
        alarm.cancel();
      };
      const alarm = world.clock.alarm(delayMs, start);
      planned.add(start);
    },
    isEnding: () => isEnding,
    nextNumber: () => {
      number += 1;
      return number;
    },
    async end() {
      isEnding = true;
      while (planned.size + running.size > 0) {
        for (const start of [...planned]) start();
        await Promise.all(running);
      }
      if (mistakes.length > 0) throw mistakes[0];
    },
  };
};
