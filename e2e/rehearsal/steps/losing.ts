import { type AccessOwner, type CallableCause, causeOf, takeAccess } from '@interlock/lab/causes';
import { lastGoodIo, summarize } from '@interlock/lab/judge/journal/journal';
import { trace } from '@opentelemetry/api';
import type { CallEffect } from '../../cloud/service-owner.ts';
import type { LossSeen, MachineAfterLoss } from '../evidence/evidence.ts';
import { millisOf, readFleet, untilAtWork, untilFleet } from '../evidence/observe.ts';
import type { StepPlan } from '../timeline.ts';
import { disksOf, machines, namesIn, type People, type PlannedMachine, type World } from '../world.ts';
import { idsOf, start } from './machines.ts';

/** A planned loss. */
export interface LossPlan {
  readonly step: StepPlan;
  readonly cause: CallableCause;
  readonly keyVersion: string;
  /** Whose calls remove access. */
  readonly owner: AccessOwner<CallEffect>;
  /** Machines running now that the loss must stop. */
  readonly stops: readonly PlannedMachine[];
  /** Machines running now that it must not stop. */
  readonly stay: readonly PlannedMachine[];
  /** The stopped machines whose start is tried. */
  readonly tries: readonly string[];
}

/** Removes access, and observes which machines stop, which keep running, and that none starts. */
export const loseAccess = async (world: World, { vmUser }: People, plan: LossPlan): Promise<LossSeen> => {
  const { timeline, clock } = world;
  const { keyVersion, owner, stops, stay, tries } = plan;
  const cause = causeOf(plan.cause);
  const before = await readFleet(world, vmUser);
  const { committedAt, traceId } = await timeline.step(plan.step, async () => {
    // Without a time of the decision, the clock before the call counts: measured latencies may be too long, but not too short.
    const askedAt = clock.now();
    const [taken] = await takeAccess({ cause }, owner);
    const decidedAt = taken?.decidedMs ?? askedAt;
    await untilFleet(world, vmUser, 'stopped', idsOf(stops), ({ powerState }) => powerState === 'STOPPED');
    return { committedAt: decidedAt, traceId: trace.getActiveSpan()?.spanContext().traceId ?? '' };
  });
  const [starts] = await Promise.all([
    timeline.step(
      { who: 'VM user', title: `Tries to start what has stopped (${tries.length})`, rules: ['CMK-106', 'CMK-110'] },
      () => start(world, vmUser, tries),
    ),
    // Machines that must not be affected have this time to show that they were not.
    untilAtWork(world, stay, clock.now()),
  ]);
  const [after, journals, toMs] = [await readFleet(world, vmUser), await world.journals(), clock.now()];
  const seen = (planned: PlannedMachine): MachineAfterLoss => {
    const { id, onLoss } = planned;
    const machine = after.get(id);
    const under = disksOf(planned).filter(({ set }) => set === 'house');
    const journal = journals[id] ?? [];
    // An ultra disk serves until its machine is off. The loss itself ends the I/O of the others only.
    const ended = onLoss === 'stops' ? under.filter(({ sku }) => sku !== 'ULTRA') : under;
    const names = ended.map((disk) => namesIn(world).disk(disk.id));
    const reason = machine?.stopReason;
    return {
      name: id,
      classes: [...new Set(under.map(({ sku }) => sku))],
      onLoss,
      power: machine?.powerState ?? '',
      provisioning: machine?.provisioningState ?? '',
      reason: reason?.reason ?? '',
      reasonDisk: reason?.disk ?? '',
      reasonKeyVersion: reason?.keyVersion ?? '',
      reasonTraceId: reason?.traceId ?? '',
      stoppedAt: onLoss === 'stops' ? machine?.stopTime?.getTime() : undefined,
      lastGoodIoAt: lastGoodIo(journal, names),
      startTimeBefore: millisOf(before.get(id)?.startTime),
      startTimeAfter: millisOf(machine?.startTime),
      io: summarize(id, journal, committedAt, toMs),
    };
  };
  const involved = machines.filter((machine) => stops.includes(machine) || stay.includes(machine));
  return { cause: cause.reason, keyVersion, committedAt, traceId, machines: involved.map(seen), starts };
};
