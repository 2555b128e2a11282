import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

/** Below this are ports of well-known services. */
const lowestPort = 10_000;
/** First port for outgoing connections if the operating system does not report it (Linux, ip(7)). */
const ephemeralDefault = 32_768;
/** How many ports to try before the operating system chooses one. */
const attemptsMax = 50;

/**
 * Different ports on 127.0.0.1 without a listener. They are not reserved, but are below the range of outgoing connections. Every
 * process makes many of these, and one could take a port in the seconds before it is bound.
 */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, listenSomewhere));
  const ports = servers.map((server) => {
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('a TCP server has no port');
    return address.port;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** One such port. */
export async function freePort(): Promise<number> {
  const [port] = await freePorts(1);
  if (port === undefined) throw new Error('no free port');
  return port;
}

async function listenSomewhere(): Promise<ReturnType<typeof createServer>> {
  const end = ephemeralStart();
  for (let attempt = 0; attempt < attemptsMax && end > lowestPort; attempt += 1) {
    try {
      return await listen(randomInt(lowestPort, end));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) throw error;
    }
  }
  return listen(0);
}

function ephemeralStart(): number {
  try {
    return Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/)[0]);
  } catch {
    // Not Linux: its usual range applies to other systems too, or theirs is higher.
    return ephemeralDefault;
  }
}

function listen(port: number) {
  return new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
