import { connect, createServer, type Socket } from 'node:net';

/** Forwards a port of this machine to the current pod of a service, like a port-forward in a cluster. */
export interface Forwarder {
  /** `127.0.0.1:<port>`: a name the certificates have. */
  readonly address: string;
  /** Sends new connections to this address from now on. */
  to(ip: string): void;
  close(): void;
}

/** @param port of the pods */
export const startForwarder = async (ip: string, port: number): Promise<Forwarder> => {
  let target = ip;
  const open = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(port, target);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one);
      one.pipe(other);
      one.once('error', () => other.destroy());
      one.once('close', () => {
        open.delete(one);
        other.destroy();
      });
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a server on a port has a port');
  return {
    address: `127.0.0.1:${address.port}`,
    to: (next) => {
      target = next;
    },
    close: () => {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
};
