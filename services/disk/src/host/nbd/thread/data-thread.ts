import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '@interlock/runtime/clock';
import { createXtsMask } from '../../cipher/xts-mask.ts';
import { parseNbdAddress } from '../address.ts';
import { NbdDoor } from '../door.ts';
import { nbdListener } from '../listener.ts';
import type { ExportId, HostCalls, ThreadCalls, ThreadSettings } from './calls.ts';
import { link } from './link.ts';
import { ThreadExport, windowBytes } from './thread-export.ts';

/**
 * The thread that serves network block devices, so that reads and writes need no other thread, and slow storage delays only the
 * connections here. It is an entry point, like a `main.ts`.
 */
const serve = (port: NonNullable<typeof parentPort>, { listen, isPlaintext, socketGroup }: ThreadSettings): void => {
  const address = parseNbdAddress(listen);
  if (address === undefined) throw new Error(`not an address of NBD: ${listen}`);
  const open = new Map<ExportId, ThreadExport>();
  const mask = createXtsMask();
  const scratch = Buffer.allocUnsafeSlow(windowBytes);

  const calls: ThreadCalls = {
    start: () => listener.listen((stream, arrival) => void door.serve(stream, arrival)),
    permit: (id, memory) => open.get(id)?.permit(memory),
    drop: (id) => open.get(id)?.drop(),
    end: (id) => open.get(id)?.end(),
    async stop() {
      const closed = listener.close();
      door.close();
      await closed;
    },
  };
  const host = link<HostCalls>(port, calls);
  const listener = nbdListener(address, isPlaintext ? 'plaintext' : () => host.certificates(), socketGroup);
  const door = new NbdDoor({
    exports: {
      async open(name, token) {
        const opened = await host.open(name, token);
        const parts = { host, mask, scratch, onReleased: () => open.delete(opened.id) };
        const served = new ThreadExport(name, opened, parts);
        open.set(opened.id, served);
        return served;
      },
      names: () => host.names(),
    },
    transport: address.kind === 'unix' ? 'plaintext' : 'tls',
    clock: systemClock,
    logError: (message, fields) => void host.logError(message, fields),
  });
};

if (!parentPort) throw new Error('data-thread.ts runs only as a worker thread');
serve(parentPort, workerData as ThreadSettings);
