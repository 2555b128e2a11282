import { type EventStore, StoreUnavailable } from '@interlock/event-store';
import type { Clock, Logger } from '@interlock/runtime';

/** Time between two attempts to open an unreachable store, in milliseconds. */
const RETRY_MS = 500;

/**
 * Opens the event store and waits for an unreachable server: in a cluster everything starts at once. Other failures (a wrong password,
 * a missing database) end the start at once.
 * @param patienceMs how long it waits; 0 makes one attempt
 * @param signal aborted when the process stops
 * @throws StoreUnavailable after `patienceMs`
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

/** Longest wait for the store during a probe, in milliseconds: less than the default timeout of a kubelet (1 s). */
const ANSWER_MS = 800;

/** Whether the store responds within less than a second. */
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

/** Waits for work for at most that time. A failure before that is thrown; a later one is ignored. */
export const atMost = async (limitMs: number, work: Promise<unknown>, clock: Clock): Promise<void> => {
  const over = new AbortController();
  work.catch(() => undefined);
  try {
    await Promise.race([work, clock.sleep(limitMs, over.signal)]);
  } finally {
    over.abort();
  }
};
