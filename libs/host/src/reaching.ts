import { type EventStore, StoreUnavailable } from '@interlock/event-store';
import type { Clock, Logger } from '@interlock/runtime';

/** Between two attempts to open what does not answer yet, in milliseconds. */
const RETRY_MS = 500;

/**
 * Opens the event store, waiting for a server that is not there yet: in a cluster everything starts at once. Other
 * failures (a wrong password, no such database) are no matter of time and end the start.
 * @param patienceMs how long from now; 0 tries once
 * @param signal aborted when the process is asked to stop
 * @throws StoreUnavailable once patience is over
 */
export const openPatiently = async <Opened>(
  open: () => Promise<Opened>,
  parts: { readonly clock: Clock; readonly log: Logger; readonly patienceMs: number; readonly signal: AbortSignal },
): Promise<Opened> => {
  const { clock, log, patienceMs, signal } = parts;
  const endMs = clock.monotonicMs() + patienceMs;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await open();
    } catch (error) {
      if (!(error instanceof StoreUnavailable) || signal.aborted || clock.monotonicMs() >= endMs) throw error;
      if (attempt === 1) log.warn('waiting for the event store', { patienceMs, error });
      await clock.sleep(RETRY_MS, signal);
    }
  }
};

/** Longest wait for the store's answer to a probe, in milliseconds: below the second a kubelet gives by default. */
const ANSWER_MS = 800;

/** Whether the store answers within less than a second. */
export const isReachable = async (store: Pick<EventStore, 'head'>, clock: Clock): Promise<boolean> => {
  const patience = new AbortController();
  const answered = store.head().then(
    () => true,
    () => false,
  );
  const late = clock.sleep(ANSWER_MS, patience.signal).then(() => false);
  try {
    return await Promise.race([answered, late]);
  } finally {
    patience.abort();
  }
};

/** Waits for work, but no longer than that; what it comes to after that is nobody's. Its failure before that is. */
export const atMost = async (limitMs: number, work: Promise<unknown>, clock: Clock): Promise<void> => {
  const over = new AbortController();
  work.catch(() => undefined);
  try {
    await Promise.race([work, clock.sleep(limitMs, over.signal)]);
  } finally {
    over.abort();
  }
};
