import type { Category } from '@interlock/event-store';
import type { Clock, Logger, Random } from '@interlock/runtime';
import type { Disks } from './disks.ts';
import type { Driver } from './driver.ts';
import type { Engine } from './engine.ts';
import { keyStopWork } from './key-stops.ts';
import type { Machine, Vm } from './vm/decider.ts';
import { isStoppedByLoss } from './vm/decider.ts';
import type { VmEvent } from './vm/events.ts';
import { isOutage, stopForLostDisk } from './vm/key-loss.ts';
import { lossReasonOf } from './vm/machine.ts';
import { guestEnded } from './vm/progress.ts';

interface Running {
  readonly vm: string;
  readonly machine: Machine;
}

/**
 * Looks at everything again, at the start and then on a timer: what was begun and not finished is resumed, guests that
 * are gone are noticed, and the disk service is asked which disks of running machines have no data any more, so that a
 * machine stops also when no event arrives (G2). Nothing waits for it in the ordinary course.
 */
export const sweeper = (parts: {
  readonly vms: Category<Vm, VmEvent>;
  readonly disks: Disks;
  readonly driver: Driver;
  readonly engine: Pick<Engine, 'kick' | 'preempt'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly intervalMs: number;
}) => {
  const { vms, disks, driver, engine, clock, random, log, intervalMs } = parts;
  const ownCause = () => {
    const id = random.uuid();
    return { correlationId: id, causationId: id, caller: 'system:compute' };
  };

  /** Stops a machine whose guest is gone: nobody can tell what became of its writes, so nobody starts it again but its user. */
  const endedInside = async (vm: string, { startedAt }: Machine): Promise<void> => {
    if (await driver.isRunning(vm)) return;
    const cause = ownCause();
    const work = { ...keyStopWork(cause, clock, random), kind: 'guestEnded' } as const;
    const { events } = await vms.transact(vm, guestEnded(work, startedAt), cause);
    if (events.length > 0) engine.kick([vm]);
  };

  const lookAtDisks = async (running: readonly Running[], signal: AbortSignal): Promise<void> => {
    const owners = new Map<string, Running>();
    const sets = new Set<string>();
    for (const one of running) {
      for (const disk of one.machine.disks.filter(isStoppedByLoss)) {
        owners.set(disk.disk, one);
        sets.add(disk.set);
      }
    }
    for (const diskEncryptionSet of sets) {
      const patience = { signal, untilMs: clock.now() + intervalMs };
      for await (const found of disks.ofSet({ diskEncryptionSet }, patience)) {
        const owner = owners.get(found.name);
        const reason = lossReasonOf(found.unavailableReason);
        // An outage is for the disk host to report once its grace is over.
        if (!owner || found.availability !== 'UNAVAILABLE' || !reason || isOutage(reason)) continue;
        const disk = owner.machine.disks.find((one) => one.disk === found.name);
        if (disk?.access !== 'open') continue;
        const loss = {
          reason,
          disk: found.name,
          set: diskEncryptionSet,
          keyVersion: found.keyVersion || disk.keyVersion,
          since: found.unavailableSince?.getTime() ?? clock.now(),
          traceId: '',
          accessEpoch: 0,
        };
        const cause = ownCause();
        const decision = stopForLostDisk(loss, disk, keyStopWork(cause, clock, random));
        const { events } = await vms.transact(owner.vm, decision, cause);
        if (events.length > 0) engine.preempt([owner.vm]);
      }
    }
  };

  const sweepOnce = async (signal: AbortSignal): Promise<void> => {
    const running: Running[] = [];
    let after: string | undefined;
    do {
      const page = await vms.list({ limit: 1_000, ...(after === undefined ? {} : { after }) });
      const unfinished: string[] = [];
      for (const { id, state } of page.items) {
        if (state.status === 'creating') unfinished.push(id);
        if (state.status !== 'active') continue;
        if (state.work || state.disks.some(({ access }) => access === 'closing')) unfinished.push(id);
        if (state.power === 'running' && state.work?.kind !== 'delete') running.push({ vm: id, machine: state });
      }
      engine.kick(unfinished);
      after = page.next;
    } while (after !== undefined && !signal.aborted);
    if (driver.hasGuests) for (const { vm, machine } of running) await endedInside(vm, machine);
    await lookAtDisks(running, signal);
  };

  return async (signal: AbortSignal): Promise<void> => {
    driver.onEnded((vm) => {
      void (async () => {
        try {
          const { state } = await vms.load(vm);
          if (state.status === 'active') await endedInside(vm, state);
        } catch (error) {
          log.warn('end of a guest is left to the sweep', { vm, error });
        }
      })();
    });
    while (!signal.aborted) {
      try {
        await sweepOnce(signal);
      } catch (error) {
        if (!signal.aborted) log.warn('sweep did not finish', { error });
      }
      await clock.sleep(intervalMs, signal);
    }
  };
};
