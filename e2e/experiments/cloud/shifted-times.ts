import type { RecordedEvent } from '@interlock/event-store';
import type { Workload } from '@interlock/rpc';

/** A time in which the wall clock of a service was wrong. By the clock of the machine, in milliseconds since the epoch. */
export interface ClockShift {
  /** Name of the step. */
  readonly step: string;
  readonly service: Workload;
  /** How far ahead it was. */
  readonly byMs: number;
  readonly fromMs: number;
  /** Absent while it is wrong. */
  toMs?: number;
}

/** How far the process may be behind when its clock is set, in milliseconds. */
const toleranceMs = 1_000;

/** The events of a service with their times by the clock of the machine. @param events in the order of its feed */
export const atMachineTimes = (
  service: Workload,
  events: readonly RecordedEvent[],
  shifts: readonly ClockShift[],
): readonly RecordedEvent[] => {
  const own = shifts.filter((shift) => shift.service === service);
  if (own.length === 0) return events;
  return events.map((event) => {
    const shift = own.find(({ byMs, fromMs, toMs = Number.POSITIVE_INFINITY }) => {
      const time = event.time - byMs;
      return time >= fromMs - toleranceMs && time <= toMs + toleranceMs;
    });
    return shift === undefined ? event : { ...event, time: event.time - shift.byMs };
  });
};
