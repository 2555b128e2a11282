import { openCertificates } from '@interlock/local/certificates.ts';
import type { DataFolder } from '@interlock/local/data-folder.ts';
import { startGuarded } from '@interlock/local/guarded-process.ts';
import { type Scope, systemClock } from '@interlock/runtime';

/** A server without anything of the product, as a floor. */
export interface BareProcess {
  /** `host:port` */
  readonly address: string;
  /** PEM file of the authority of its certificate. */
  readonly authorityFile: string;
}

/**
 * Starts a program in its own process that serves over TLS, and registers its end on the scope.
 * @param entry its file: it gets a certificate file and a key file, then `args`, and prints its port
 * @throws Error if it ends first
 */
export const startBare = async (
  entry: URL,
  args: readonly string[],
  data: DataFolder,
  scope: Scope,
): Promise<BareProcess> => {
  const { certificateFile, keyFile, authorityFile } = await openCertificates(data, systemClock.now());
  const port = Promise.withResolvers<string>();
  const server = await startGuarded({
    command: process.execPath,
    args: [entry.pathname, certificateFile, keyFile, ...args],
    cwd: '/',
    output: data.path('bare-server.log'),
    onLine: port.resolve,
    stopSignal: 'TERM',
    graceMs: 1_000,
  });
  scope.defer('bare server', server.stop);
  void server.exited.then(({ status }) => port.reject(new Error(`the bare server ended with status ${status}`)));
  return { address: `127.0.0.1:${await port.promise}`, authorityFile };
};
