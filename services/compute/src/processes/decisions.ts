import { type EventStore, StoreUnavailable } from '@interlock/event-store';
import { type Clock, failureLog, type Logger } from '@interlock/runtime';
import { virtualMachines } from '../vm/decider.ts';
import type { VmEvent } from '../vm/events.ts';
import type { Engine, Urgency } from './engine.ts';

/** Events read at once. */
const runLength = 1_000;
/** Pause after a failed read, in milliseconds. */
const retryMs = 500;

const prefix = `${virtualMachines.name}-`;

/** Events that a process follows, and what they interrupt. */
const urgencies: ReadonlyMap<string, Urgency> = new Map<VmEvent['type'], Urgency>([
  ['VmCreationStarted', 'work'],
  ['VmStarting', 'work'],
  ['VmStopping', 'stop'],
  ['VmStopped', 'look'],
  ['VmDeallocating', 'work'],
  ['VmDeleting', 'work'],
  ['DiskAttaching', 'work'],
  ['DiskDetaching', 'work'],
]);

/**
 * Follows the feed of this service's own store: any replica may decide about a machine, and the owner of the machine's work
 * partition carries it out. The sweep finds what was decided before that replica owned the partition.
 * @param from position of the store after which it begins
 */
export const followDecisions =
  (parts: {
    readonly store: EventStore;
    readonly engine: Pick<Engine, 'notify'>;
    readonly clock: Clock;
    readonly log: Logger;
    readonly from: number;
  }) =>
  async (signal: AbortSignal): Promise<void> => {
    const { store, engine, clock, log } = parts;
    const attempts = failureLog({
      log,
      clock,
      failing: 'decisions of other replicas are not read',
      back: 'decisions of other replicas are read again',
    });
    for (let position = parts.from; !signal.aborted; ) {
      if (!(await store.waitForEvents(position, signal))) return;
      try {
        const events = await store.feed(position, runLength);
        for (const { stream, type, version } of events) {
          if (!stream.startsWith(prefix)) continue;
          const urgency = urgencies.get(type);
          if (urgency !== undefined) engine.notify(stream.slice(prefix.length), version, urgency);
        }
        position = events.at(-1)?.position ?? position;
        attempts.succeeded();
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error;
        attempts.failed(error);
        await clock.sleep(retryMs, signal);
      }
    }
  };
