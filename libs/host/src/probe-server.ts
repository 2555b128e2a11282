import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** The probe server of a process. */
export interface Probes {
  /** host:port with the bound port. */
  readonly address: string;
  /**
   * The process has started: `/startupz` responds with 200 from now on, and `/readyz` calls `look` for every probe.
   * @param look the findings; one with `counts: false` is only reported
   */
  started(look: () => Promise<readonly Finding[]>): void;
  close(): Promise<void>;
}

/** One dependency that `/readyz` checks. */
export interface Finding {
  readonly name: string;
  readonly isThere: boolean;
  /** Whether the process is not ready without it. */
  readonly counts: boolean;
}

/**
 * Serves the probes of a kubelet over plain HTTP on their own port: a kubelet neither checks nor presents certificates, and its gRPC
 * probe does not support TLS. The port serves nothing else.
 *
 * | Path | 200 | 503 |
 * | --- | --- | --- |
 * | `/livez` | the event loop runs; nothing else is checked | never |
 * | `/startupz` | the service has started | still starting |
 * | `/readyz` | all findings that count are there, and the process is not stopping | otherwise |
 *
 * Each responds with a JSON object, `/readyz` with a property for each finding.
 * @param address `host:port`; port 0 takes a free one
 * @param isStopping true once the process is stopping
 * @throws Error when the address cannot be bound
 */
export const startProbes = async (address: string, isStopping: () => boolean): Promise<Probes> => {
  let look: (() => Promise<readonly Finding[]>) | undefined;
  const readiness = async (): Promise<readonly [number, Readonly<Record<string, boolean>>]> => {
    if (look === undefined) return [503, { started: false }];
    if (isStopping()) return [503, { stopping: true }];
    const findings = await look();
    const isReady = findings.every(({ isThere, counts }) => isThere || !counts);
    return [isReady ? 200 : 503, Object.fromEntries(findings.map(({ name, isThere }) => [name, isThere]))];
  };
  const server = createServer((request, response) => {
    switch (request.url) {
      case '/livez':
        return answer(response, 200, { live: true });
      case '/startupz':
        return answer(response, look === undefined ? 503 : 200, { started: look !== undefined });
      case '/readyz':
        return void readiness().then(
          ([status, body]) => answer(response, status, body),
          () => answer(response, 503, { looked: false }),
        );
      default:
        return answer(response, 404, { found: false });
    }
  });
  const { host, port } = hostAndPort(address);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  return {
    address: `${host}:${(server.address() as AddressInfo).port}`,
    started: (found) => {
      look = found;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};

const answer = (response: ServerResponse, status: number, body: Readonly<Record<string, boolean>>): void => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
};

const hostAndPort = (address: string): { readonly host: string; readonly port: number } => {
  const [, host, port] = /^(.*):(\d+)$/.exec(address) ?? [];
  if (host === undefined || port === undefined) throw new Error(`${address} is not host:port`);
  return { host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) };
};
