import { randomUUID } from 'node:crypto';
import { systemClock } from '@interlock/runtime';
import type { Bus } from './bus.ts';
import { deleteStreams, natsBus } from './nats-bus.ts';

/** Room of a test's stream: a server has space for thousands, also of tests that were killed and left theirs. */
const STREAM_BYTES_MAX = 16 * 1024 ** 2;

/**
 * Opens a bus on a server, that of `NATS_URL` by default, under a name of its own, for one test world. Its streams go when it is closed.
 * @throws when the variable is missing: such a test is never skipped in silence
 */
export const openTestBus = async (server = process.env.NATS_URL): Promise<Bus> => {
  if (!server) throw new Error('NATS_URL is not set: run this test through `npm test`, or point it at a NATS server');
  const namespace = `t${randomUUID().slice(0, 8)}`;
  const bus = await natsBus({ servers: [server], clock: systemClock, namespace, streamBytesMax: STREAM_BYTES_MAX });
  return {
    ...bus,
    async close() {
      await bus.close();
      await deleteStreams(server, `${namespace}_`);
    },
  };
};
