import { CursorConflict, type Transacted } from '@interlock/event-store';
import { Interrupted, orInterrupted } from '../disk-service/disks.ts';
import { type ChosenHost, HostAway, type MachineAtHost, machineAt, PlacementOutdated } from '../guests/guests.ts';
import type { VmEvent } from '../vm/events.ts';
import { disksOpened, guestStarted, placed, runsWithoutGuest, startFailed } from '../vm/progress.ts';
import { isOff, type Vm } from '../vm/state.ts';
import { DisksFailed, failureOf } from './failures.ts';
import { stopIfLossMissed } from './missed-losses.ts';
import { openAll } from './opening.ts';
import { type Busy, type Ended, inPower, isStillAt, type Process, type Run } from './process.ts';
import { closeToGuest } from './stopping.ts';

/**
 * Starts a machine: opens every disk, then the guest. A definite refusal leaves it as it was before, FAILED, and names every
 * disk that blocks the start (VM-06, VM-47).
 */
export const startMachine: Process<Busy> = {
  name: 'start',
  appliesTo: inPower('starting'),
  steps: [
    {
      // Only a start that a crash interrupted leaves a guest. The opens below end the tokens it has.
      name: 'end the guest of an interrupted start',
      async effect({ parts, vm, state }) {
        await parts.guests.stop(machineAt(vm, state), { graceMs: 0 });
      },
    },
    {
      name: 'open the disks',
      async effect(run) {
        const { parts, state, signal } = run;
        const disks = state.disks.filter(({ phase }) => phase === 'attached');
        run.opening = await openAll(run, disks, { signal, untilMs: state.power.since + parts.startTimeoutMs });
      },
    },
    { name: 'store the opens', effect: storeOpens },
    { name: 'start the guest', effect: startGuest },
  ],
  success: { event: 'VmStarted', decide: ({ parts, state }) => guestStarted(parts.clock.now(), state.work.id) },
  failure: {
    event: 'VmStartFailed',
    decide({ parts, vm, state: { work } }, error) {
      const at = parts.clock.now();
      const blocked = error instanceof DisksFailed ? error.failures.flatMap(({ loss }) => loss ?? []) : [];
      return startFailed(at, work.id, failureOf(error, work, vm, at), blocked);
    },
  },
  async afterwards(run, stored) {
    // Another replica reported that the start failed: no process looks for the guest of a machine that is off.
    const isUnwanted = stored.state.status !== 'active' || isOff(stored.state);
    if (isUnwanted) await run.parts.guests.stop(newestPlacement(run), { graceMs: 0 });
    return stored;
  },
};

/** Stores the opens, and the host that is chosen. Without guests the machine runs in the same commit. */
async function storeOpens(run: Run<Busy>): Promise<Ended | undefined> {
  const { parts, state, opening } = run;
  const { guests, clock } = parts;
  const { id: work } = state.work;
  const at = clock.now();
  const opened = opening?.opened ?? [];
  const stored = await placeWith(run, (chosen) => (machine) => {
    if (!guests.hasGuests) return runsWithoutGuest(at, work, opened)(machine);
    const isPlaced = chosen === undefined ? [] : placed(at, work, chosen.host)(machine);
    return [...disksOpened(at, work, opened)(machine), ...isPlaced];
  });
  const isOn = guests.hasGuests ? isStillAt(stored.state, state.work) : stored.events.length > 0;
  if (!isOn || (await stopIfLossMissed(run, stored))) return { ended: undefined };
  run.loaded = stored;
  return guests.hasGuests ? undefined : { ended: stored };
}

/** Where the machine ran last. */
const lastHostOf = (machine: Vm): string | undefined =>
  machine.status === 'active' ? machine.placement?.host : undefined;

/** Commits what depends on the host of the start, and chooses again if that is closed meanwhile. */
const placeWith = async (
  { parts, vm, cause, loaded }: Run<Busy>,
  decide: (chosen: ChosenHost | undefined) => (machine: Vm) => readonly VmEvent[],
): Promise<Transacted<Vm, VmEvent>> => {
  for (;;) {
    const chosen = await parts.guests.choose(lastHostOf(loaded.state));
    const guard = chosen === undefined ? {} : { guard: chosen.guard };
    try {
      return await parts.vms.transact(vm, decide(chosen), cause, { known: loaded, step: 'work', ...guard });
    } catch (error) {
      if (!(error instanceof CursorConflict)) throw error;
    }
  }
};

async function startGuest(run: Run<Busy>): Promise<undefined> {
  const { parts, vm, state, signal, opening } = run;
  const { uniqueId: machineId, spec } = state;
  const { guest, workload } = spec;
  const plan = { machineId, guest, disks: opening?.guestDisks ?? [], workload };
  for (;;) {
    if (signal.aborted) throw new Interrupted('stopped before the guest was started');
    try {
      return void (await orInterrupted(parts.guests.start(newestPlacement(run), plan), signal));
    } catch (error) {
      if (error instanceof Interrupted) throw error;
      parts.log.warn('guest did not start', { vm, error });
      if (error instanceof PlacementOutdated) await placeAbove(run, error.newest);
      else await giveUpGuest(run, error);
    }
  }
}

/** The machine where this run placed it. */
const newestPlacement = ({ vm, state, loaded }: Run<Busy>): MachineAtHost =>
  machineAt(vm, loaded.state.status === 'active' ? loaded.state : state);

/** Places the machine once more, with a number that its host does not know yet. @throws Interrupted */
const placeAbove = async (run: Run<Busy>, newest: number): Promise<void> => {
  const { parts, state } = run;
  const at = parts.clock.now();
  run.loaded = await placeWith(run, (chosen) =>
    chosen === undefined ? () => [] : placed(at, state.work.id, chosen.host, newest),
  );
  if (!isStillAt(run.loaded.state, state.work)) throw new Interrupted('the start was replaced');
};

/**
 * Ends what is left of a guest that did not come up, so that the machine is off. If its host does not respond, the start begins again
 * at another host, as long as it may take.
 * @throws the error; Interrupted
 */
const giveUpGuest = async (run: Run<Busy>, error: unknown): Promise<never> => {
  const { parts, state } = run;
  const left = await parts.guests.stop(newestPlacement(run), { graceMs: 0 });
  if (left === 'unknown') await closeToGuest(run);
  const isInTime = parts.clock.now() < state.power.since + parts.startTimeoutMs;
  throw error instanceof HostAway && isInTime
    ? new Interrupted(`${error.host} does not respond: another is chosen`)
    : error;
};
