import { connect } from 'node:net';
import type { ControlledPart } from '@interlock/local/control/cloud-control.ts';
import { isDiskHostName, isVmHostName } from '@interlock/local/services.ts';
import type { Clients } from '../../cloud/clients.ts';

/** How long a part may take to respond, in milliseconds. */
const responseMs = 1_000;

/** The addresses of the parts. */
export interface Callable {
  readonly clients: Clients;
  /** host:port of the two servers; undefined if they cannot be reached from here. */
  readonly servers: { readonly nats: string; readonly postgres: string } | undefined;
}

/** Calls a part once. @returns why the call failed; undefined if the part responded */
export const failingCall = async (
  part: ControlledPart,
  { clients, servers }: Callable,
): Promise<string | undefined> => {
  if (isDiskHostName(part)) {
    const name = `diskHosts/${part.replace('disk-host-', 'disk-')}`;
    // Callers reach it through the control processes.
    const { liveness } = await clients.disks.getDiskHost({ name });
    return liveness === 'SERVING' ? undefined : `${name} is ${liveness}`;
  }
  if (isVmHostName(part)) {
    const name = `vmHosts/${part}`;
    const { liveness } = await clients.compute.getVmHost({ name });
    return liveness === 'SERVING' ? undefined : `${name} is ${liveness}`;
  }
  if (part === 'nats' || part === 'postgres') return servers && serverFailure(part, servers[part]);
  return clients
    .messaging(part)
    .getRelay({}, { deadlineMs: responseMs })
    .then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
};

/** A request to which Postgres responds with one byte: whether it supports TLS. */
const sslRequest = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);

/** NATS sends a greeting at once, and Postgres responds to a request for TLS. */
const serverFailure = (part: 'nats' | 'postgres', address: string): Promise<string | undefined> =>
  new Promise((resolve) => {
    const at = address.lastIndexOf(':');
    const socket = connect(Number(address.slice(at + 1)), address.slice(0, at));
    const end = (failure: string | undefined): void => {
      socket.destroy();
      resolve(failure);
    };
    socket.setTimeout(responseMs, () => end(`${part} did not respond within ${responseMs} ms`));
    socket.once('error', (error) => end(error.message));
    socket.once('data', () => end(undefined));
    if (part === 'postgres') socket.once('connect', () => socket.write(sslRequest));
  });
