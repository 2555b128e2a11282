import type { Loaded } from '@interlock/event-store';
import type { KeyLoss } from '../vm/machine.ts';
import { disksOpened, guestStarted, runsWithoutGuest, startFailed } from '../vm/progress.ts';
import { isOff, type Vm } from '../vm/state.ts';
import { Interrupted, orInterrupted } from './disks.ts';
import { failureOf } from './failures.ts';
import { openAll, worstOf } from './opening.ts';
import { type Busy, causeOf, isStillAt, type ProcessParts, type Step, stopIfLossMissed } from './step.ts';

/**
 * Starts a machine: opens every disk, then the guest. Anything definite in the way ends it as it was before, FAILED, with
 * every disk in the way named (VM-06, VM-47).
 */
export const starting =
  (parts: ProcessParts): Step<Busy> =>
  async (vm, machine, { signal, settled, loaded }) => {
    const { vms, driver, clock } = parts;
    const { work } = machine;
    const cause = causeOf(work);
    await settled();
    // A guest can only be left from a start that a crash cut off; the tokens it has end with the opens below.
    await driver.stop(vm, { graceMs: 0 });

    const fail = (error: unknown, loss: KeyLoss | undefined, blocked: readonly KeyLoss[]): Promise<Loaded<Vm>> => {
      const at = clock.now();
      return vms.transact(vm, startFailed(at, work.id, failureOf(error, loss, work, vm, at), blocked), cause);
    };

    const wanted = machine.disks.filter(({ phase }) => phase === 'attached');
    const untilMs = machine.power.since + parts.startTimeoutMs;
    const outcome = await openAll(parts, vm, work, wanted, { signal, untilMs });
    const { opened, guestDisks, failures } = outcome;
    const worst = worstOf(failures);
    if (worst)
      return fail(
        worst.error,
        worst.loss,
        failures.flatMap(({ loss }) => loss ?? []),
      );

    const report = driver.hasGuests ? disksOpened : runsWithoutGuest;
    const withDisks = await vms.transact(vm, report(clock.now(), work.id, opened), cause, { known: loaded });
    const isOn = driver.hasGuests ? isStillAt(withDisks.state, work) : withDisks.events.length > 0;
    if (!isOn || (await stopIfLossMissed(parts, withDisks, outcome))) return undefined;
    if (!driver.hasGuests) return withDisks;
    if (signal.aborted) throw new Interrupted('stopped before the guest was started');
    try {
      await orInterrupted(
        driver.start(vm, { machineId: machine.uniqueId, disks: guestDisks, workload: machine.wish.workload }),
        signal,
      );
    } catch (error) {
      if (error instanceof Interrupted) throw error;
      parts.log.warn('guest did not start', { vm, error });
      await driver.stop(vm, { graceMs: 0 });
      return fail(error, undefined, []);
    }
    const started = await vms.transact(vm, guestStarted(clock.now(), work.id), cause, { known: withDisks });
    // Another replica had reported that it cannot be started: nobody would look for a guest of a machine that is off.
    if (isGuestUnwanted(started.state)) await driver.stop(vm, { graceMs: 0 });
    return started;
  };

const isGuestUnwanted = (vm: Vm): boolean => vm.status !== 'active' || isOff(vm);
