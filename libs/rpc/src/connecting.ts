import { channel } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';

/** Longest wait for a connection to come about, in milliseconds. */
const limitMsDefault = 10_000;

/**
 * Gives up every connection of this process that does not come about in time; may be called again. gRPC waits for as long as the
 * system tries, which is two minutes, and asks nobody meanwhile where the server is by now: a machine that lost its power answers
 * nothing, and what ran on it is long elsewhere.
 */
export const limitConnecting = (limitMs = limitMsDefault): void => {
  if (isAsked) return;
  isAsked = true;
  channel('net.client.socket').subscribe((message) => {
    const { socket } = message as { readonly socket: Socket };
    const giveUp = (): void => {
      if (socket.connecting) socket.destroy(new Error(`no connection came about within ${limitMs} ms`));
    };
    setTimeout(giveUp, limitMs).unref();
  });
};
let isAsked = false;
