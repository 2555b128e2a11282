import type { Clock } from '@interlock/runtime';
import type { FastifyInstance, FastifyReply } from 'fastify';

/** What a client must read of a reply in each period, in bytes, unless it reads all of it. */
export const readBytesMin = 1024 * 1024;

/** Closes the connection of a client that does not read its reply, or reads it too slowly. @param periodMs in milliseconds */
export const endUnreadReplies = (server: FastifyInstance, clock: Pick<Clock, 'alarm'>, periodMs: number): void => {
  server.addHook('onSend', async (_request, reply) => watch(reply, clock, periodMs));
};

const watch = ({ raw }: FastifyReply, clock: Pick<Clock, 'alarm'>, periodMs: number): void => {
  const { socket } = raw.req;
  let before = socket.bytesWritten;
  const look = (): void => {
    if (socket.destroyed) return;
    // A reply that waits for its own data is not the client's fault.
    const isUnread = raw.writableLength > 0 || socket.writableLength > 0;
    if (isUnread && socket.bytesWritten - before < readBytesMin) {
      socket.destroy();
      return;
    }
    before = socket.bytesWritten;
    alarm = clock.alarm(periodMs, look);
  };
  let alarm = clock.alarm(periodMs, look);
  const end = (): void => alarm.cancel();
  raw.once('finish', end);
  raw.once('close', end);
};
