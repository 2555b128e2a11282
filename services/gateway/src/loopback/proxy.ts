import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type CloudNames, vaultInHost } from '../cloud/names.ts';

/** A tunnel without traffic ends after this time, in milliseconds. */
const idleMs = 300_000;

/** Whether `CONNECT` may reach this `host:port`: the gateway itself and its vaults. */
export const isOwnName = (names: CloudNames, target: string): boolean => {
  const host = target.toLowerCase();
  return host === new URL(names.gateway).host || vaultInHost(names, host) !== undefined;
};

/**
 * Answers `CONNECT`: connects the client with the gateway's own address. It resolves the host names of vaults for clients that cannot.
 * @param address where the gateway listens
 */
export const tunnel = (
  names: CloudNames,
  address: { readonly host: string; readonly port: number },
  { target, client, head }: { readonly target: string; readonly client: Duplex; readonly head: Buffer },
): void => {
  client.on('error', () => client.destroy());
  if (!isOwnName(names, target)) {
    client.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n');
    return;
  }
  const server: Socket = connect(address);
  server.setTimeout(idleMs, () => server.destroy());
  server.once('connect', () => {
    client.write('HTTP/1.1 200 Connection established\r\n\r\n');
    if (head.length > 0) server.write(head);
    client.pipe(server);
    server.pipe(client);
  });
  // One side that fails or closes ends the other.
  server.on('error', () => client.destroy());
  server.once('close', () => client.destroy());
  client.once('close', () => server.destroy());
};
