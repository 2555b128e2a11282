import { Interrupted, orInterrupted } from '../disk-service/disks.ts';
import { disksOpened, guestStarted, runsWithoutGuest, startFailed } from '../vm/progress.ts';
import { isOff } from '../vm/state.ts';
import { DisksFailed, failureOf } from './failures.ts';
import { stopIfLossMissed } from './missed-losses.ts';
import { openAll } from './opening.ts';
import { type Busy, type Ended, inPower, isStillAt, type Process, type Run } from './process.ts';

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
      async effect({ parts, vm }) {
        await parts.driver.stop(vm, { graceMs: 0 });
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
  async afterwards({ parts, vm }, stored) {
    // Another replica reported that the start failed: no process looks for the guest of a machine that is off.
    if (stored.state.status !== 'active' || isOff(stored.state)) await parts.driver.stop(vm, { graceMs: 0 });
    return stored;
  },
};

/** Stores the opens. Without guests the machine runs in the same commit. */
async function storeOpens(run: Run<Busy>): Promise<Ended | undefined> {
  const { parts, vm, state, cause, loaded, opening } = run;
  const { driver, clock } = parts;
  const report = driver.hasGuests ? disksOpened : runsWithoutGuest;
  const stored = await parts.vms.transact(vm, report(clock.now(), state.work.id, opening?.opened ?? []), cause, {
    known: loaded,
    step: 'work',
  });
  const isOn = driver.hasGuests ? isStillAt(stored.state, state.work) : stored.events.length > 0;
  if (!isOn || (await stopIfLossMissed(run, stored))) return { ended: undefined };
  run.loaded = stored;
  return driver.hasGuests ? undefined : { ended: stored };
}

async function startGuest({ parts, vm, state, signal, opening }: Run<Busy>): Promise<undefined> {
  if (signal.aborted) throw new Interrupted('stopped before the guest was started');
  const { uniqueId: machineId, spec } = state;
  const { guest, workload } = spec;
  const plan = { machineId, guest, disks: opening?.guestDisks ?? [], workload };
  try {
    await orInterrupted(parts.driver.start(vm, plan), signal);
  } catch (error) {
    if (error instanceof Interrupted) throw error;
    parts.log.warn('guest did not start', { vm, error });
    await parts.driver.stop(vm, { graceMs: 0 });
    throw error;
  }
}
