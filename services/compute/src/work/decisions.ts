import { type EventStore, StoreUnavailable } from '@interlock/event-store';
import { type Clock, failureLog, type Logger } from '@interlock/runtime';
import { virtualMachines } from '../vm/decider.ts';
import type { VmEvent } from '../vm/events.ts';
import type { Engine, News } from './engine.ts';

/** Events read at once. */
const runLength = 1_000;
/** Pause before a store that could not be reached is asked again, in milliseconds. */
const retryMs = 500;

const prefix = `${virtualMachines.name}-`;

/** Decisions after which there is something to do with a machine. */
const beginnings: ReadonlyMap<string, News> = new Map<VmEvent['type'], News>([
  ['VmCreationBegun', 'work'],
  ['VmStarting', 'work'],
  ['VmStopping', 'stop'],
  ['VmStopped', 'look'],
  ['VmDeallocating', 'work'],
  ['VmDeleting', 'work'],
  ['DiskAttaching', 'work'],
  ['DiskDetaching', 'work'],
]);

/**
 * Hears in the feed of this service's own store what was decided about machines, by whichever replica: whoever has the
 * machine's share carries it out. What was decided before that replica had the share, the sweep finds.
 * @param from position of the store behind which it begins
 */
export const hearDecisions =
  (parts: {
    readonly store: EventStore;
    readonly engine: Pick<Engine, 'heard'>;
    readonly clock: Clock;
    readonly log: Logger;
    readonly from: number;
  }) =>
  async (signal: AbortSignal): Promise<void> => {
    const { store, engine, clock, log } = parts;
    const attempts = failureLog({
      log,
      clock,
      failing: 'decisions of other replicas are not heard',
      back: 'decisions of other replicas are heard again',
    });
    for (let position = parts.from; !signal.aborted; ) {
      if (!(await store.waitForEvents(position, signal))) return;
      try {
        const events = await store.feed(position, runLength);
        for (const { stream, type, version } of events) {
          if (!stream.startsWith(prefix)) continue;
          const news = beginnings.get(type);
          if (news !== undefined) engine.heard(stream.slice(prefix.length), version, news);
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
