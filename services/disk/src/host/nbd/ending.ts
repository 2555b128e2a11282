import type { Duplex } from 'node:stream';
import type { Clock } from '@interlock/runtime';

/** How long a client may take for what was sent, before its connection is destroyed, in milliseconds. */
export const stallMs = 30_000;
/** How long it may take to end its side after that, in milliseconds. What it sends meanwhile is dropped. */
const lingerMs = 1_000;

/**
 * Ends a connection so that its client still receives what was sent, and destroys it when the client has ended its side or the time is
 * over. A connection that is only ended stays open as long as its client wants. Resolves when it is closed.
 */
export const ended = (stream: Duplex, clock: Pick<Clock, 'alarm'>): Promise<void> =>
  new Promise((resolve) => {
    if (stream.closed) return resolve();
    const destroy = (): void => void stream.destroy();
    let late = clock.alarm(stallMs, destroy);
    stream.once('finish', () => {
      late.cancel();
      if (!stream.destroyed) late = clock.alarm(lingerMs, destroy);
    });
    stream.once('close', () => {
      late.cancel();
      resolve();
    });
    stream.end();
    // Bytes that are not read keep the connection from noticing that its client has left.
    stream.resume();
  });
