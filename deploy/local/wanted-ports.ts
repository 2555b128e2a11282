import { createServer, type Server } from 'node:net';
import { LauncherError } from './data-folder.ts';
import type { GatewayPlace } from './gateway.ts';

/** A port that clients know, so that it cannot be replaced by a free one. */
export interface WantedPort {
  /** What listens there: `the gateway`. */
  readonly what: string;
  readonly hosts: readonly string[];
  readonly port: number;
  /** The variable that names another port, with an example. */
  readonly instead: string;
}

/** The ports that `npm run up` needs besides those that it chooses itself. @param gateway undefined without a gateway */
export const wantedPorts = (
  env: Readonly<Record<string, string | undefined>>,
  gateway: GatewayPlace | undefined,
): readonly WantedPort[] => {
  const [, nbdHost, nbdPort] = /^tls:\/\/(.+):(\d+)$/.exec(env.NBD_LISTEN ?? '') ?? [];
  return [
    ...(gateway === undefined ? [] : gatewayPorts(gateway)),
    ...(nbdHost === undefined || nbdPort === undefined
      ? []
      : [
          {
            what: 'the network block devices of disk (NBD_LISTEN)',
            hosts: [nbdHost.replace(/^\[|\]$/g, '')],
            port: Number(nbdPort),
            instead: `NBD_LISTEN=tls://${nbdHost}:<port>`,
          },
        ]),
  ];
};

const gatewayPorts = ({ host, port, loopbackPort }: GatewayPlace): readonly WantedPort[] => {
  const isLocal = host === 'localhost';
  return [
    {
      what: 'the gateway',
      hosts: isLocal ? ['127.0.0.1', '::1'] : [host],
      port,
      instead: 'INTERLOCK_GATEWAY_PORT=<port>',
    },
    {
      what: 'its managed identity endpoint and proxy',
      hosts: isLocal ? ['127.0.0.1'] : [host],
      port: loopbackPort,
      instead: 'INTERLOCK_LOOPBACK_PORT=<port>',
    },
  ];
};

/**
 * Checks that these ports are free, before anything is started.
 * @throws LauncherError that names every port that cannot be used, and what chooses another
 */
export const requireFree = async (wanted: readonly WantedPort[]): Promise<void> => {
  const held: Server[] = [];
  const problems: string[] = [];
  try {
    for (const { what, hosts, port, instead } of wanted) {
      for (const host of hosts) {
        const problem = await listenOn(host, port, held);
        if (problem === undefined) continue;
        problems.push(`Port ${port} of ${host}, for ${what}, ${problem}. Set ${instead} to use another port.`);
        break;
      }
    }
  } finally {
    await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
  }
  if (problems.length === 0) return;
  throw new LauncherError(`${problems.join('\n')}\nNothing was started.`);
};

/** Listens there, and keeps listening. @returns why it cannot; undefined if it can, or if the machine has no such address */
const listenOn = async (host: string, port: number, held: Server[]): Promise<string | undefined> => {
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<NodeJS.ErrnoException | undefined>();
  server.once('error', resolve);
  server.listen({ host, port, exclusive: true }, () => resolve(undefined));
  const error = await promise;
  if (error === undefined) held.push(server);
  if (error?.code === 'EADDRINUSE') return 'is in use by another program or cloud';
  return error?.code === 'EACCES' ? 'is not allowed for this user' : undefined;
};
