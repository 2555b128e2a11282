import { randomUUID } from 'node:crypto';
import { systemClock } from '@interlock/runtime';
import { connect } from '@nats-io/transport-node';
import type { Bus } from './bus.ts';
import { natsBus } from './nats-bus.ts';
import { deleteStreams, ensureStreams } from './streams.ts';

/** Size of a test's stream: small, because killed tests leave their streams on the server. */
const STREAM_BYTES_MAX = 16 * 1024 ** 2;

/**
 * Opens a bus on a server, that of `NATS_URL` by default, under a new namespace, for one test world, with a stream for each of its
 * services. Closing the bus deletes the streams.
 * @throws when the variable is missing, so that such a test is never skipped silently
 */
export const openTestBus = async (services: readonly string[], server = process.env.NATS_URL): Promise<Bus> => {
  if (!server) throw new Error('NATS_URL is not set: run this test through `npm test`, or point it at a NATS server');
  const namespace = `t${randomUUID().slice(0, 8)}`;
  const access = { servers: [server] };
  const settings = { services, namespace, bytesMax: STREAM_BYTES_MAX };
  await ensureStreams(access, settings, { clock: systemClock, patienceMs: 0 });
  const bus = await natsBus({ ...access, clock: systemClock, namespace });
  return {
    ...bus,
    async close() {
      await bus.close();
      const connection = await connect(access);
      await deleteStreams(connection, `${namespace}_`);
      await connection.close();
    },
  };
};
