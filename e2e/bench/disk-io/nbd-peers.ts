import { execFile } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type DataFolder, LauncherError } from '@interlock/local/data-folder.ts';
import { startGuarded } from '@interlock/local/guarded-process.ts';
import type { Scope } from '@interlock/runtime';
import type { Operation } from './operations.ts';

const run = promisify(execFile);

/** A server of encrypted blocks, measured by fio. */
export interface Peer {
  readonly name: string;
  /** @returns the rate in the operation's unit */
  measure(operation: Operation, seconds: number): Promise<number>;
}

/** Programs and their Debian packages. */
const programs = { nbdkit: 'nbdkit', 'qemu-nbd': 'qemu-utils', 'qemu-img': 'qemu-utils', fio: 'fio' } as const;

/** @throws LauncherError with the missing programs and what to install */
export const checkPeers = (path = process.env.PATH ?? ''): void => {
  const exists = (program: string) => path.split(':').some((folder) => existsSync(`${folder}/${program}`));
  const missing = Object.entries(programs).filter(([program]) => !exists(program));
  if (missing.length === 0) return;
  throw new LauncherError(
    `disk-io needs programs that are not installed: ${missing.map(([program]) => program).join(', ')}. ` +
      `Install them with apt-get install ${[...new Set(missing.map(([, name]) => name))].join(' ')}, or use --smoke, which measures no peers.`,
  );
};

/** nbdkit and qemu-nbd, each serving a LUKS volume (AES-256-XTS) in a file of the same file system, over NBD on a Unix socket without TLS, measured by fio. */
export const startPeers = async (folder: DataFolder, regionBytes: number, scope: Scope): Promise<readonly Peer[]> => {
  const secretFile = folder.path('passphrase');
  writeFileSync(secretFile, 'only for this bench', { mode: 0o600 });
  const secret = ['--object', `secret,id=s,file=${secretFile}`];
  const start = async (
    name: 'nbdkit' | 'qemuNbd',
    command: string,
    argsFor: (image: string, socket: string) => string[],
  ) => {
    const [image, socket] = [folder.path(`${name}.luks`), folder.path(`${name}.sock`)];
    // With the default iteration time, opening a volume takes seconds.
    const options = 'key-secret=s,iter-time=50';
    await run('qemu-img', ['create', '-q', '-f', 'luks', ...secret, '-o', options, image, String(regionBytes)]);
    const output = folder.path(`${name}.log`);
    const args = argsFor(image, socket);
    const server = await startGuarded({ command, args, cwd: '/', output, stopSignal: 'TERM', graceMs: 5_000 });
    scope.defer(name, server.stop);
    for (let waited = 0; !existsSync(socket); waited += 20) {
      if (waited > 10_000) throw new LauncherError(`${command} did not serve within 10 s; see ${output}.`);
      await delay(20);
    }
    return openPeer(name, `nbd+unix:///?socket=${socket}`, regionBytes);
  };
  return [
    await start('nbdkit', 'nbdkit', (image, socket) => [
      ...['--foreground', '--unix', socket, '--filter=luks', 'file', image, `passphrase=+${secretFile}`],
    ]),
    await start('qemuNbd', 'qemu-nbd', (image, socket) => [
      ...[...secret, '--persistent', '--shared=8', '--socket', socket],
      ...['--image-opts', `driver=luks,key-secret=s,file.driver=file,file.filename=${image}`],
    ]),
  ];
};

/** A running server. Its region is written once as a whole, so that no sample reads holes. @param uri of its export */
export const openPeer = async (name: string, uri: string, regionBytes: number): Promise<Peer> => {
  const fio = (operation: Operation, ms?: number) => measureByFio(uri, operation, regionBytes, ms);
  await fio({ pattern: 'sequential', direction: 'write', bytes: 1_048_576, depth: 8 });
  return { name, measure: (operation, seconds) => fio(operation, Math.round(seconds * 1_000)) };
};

/** @param ms how long; absent: once through the region @throws Error if fio measured for less than that */
const measureByFio = async (
  uri: string,
  { pattern, direction, bytes, depth }: Operation,
  regionBytes: number,
  ms: number | undefined,
): Promise<number> => {
  // fio takes a fraction of a second, such as 0.5, for none, and measures one pass.
  const limit = ms === undefined ? [] : ['--time_based', `--runtime=${ms}ms`, `--ramp_time=${Math.round(ms / 4)}ms`];
  const { stdout } = await run('fio', [
    ...['--name=peer', '--ioengine=nbd', `--uri=${uri}`, '--output-format=json'],
    ...[`--rw=${pattern === 'random' ? 'rand' : ''}${direction}`, `--bs=${bytes}`, `--iodepth=${depth}`],
    ...[`--size=${regionBytes}`, '--randrepeat=1', '--norandommap', ...limit],
  ]);
  // A line of text comes before the JSON.
  const [job] = JSON.parse(stdout.slice(stdout.indexOf('{'))).jobs;
  const { bw_bytes: bytesPerSecond, iops, runtime: ranMs } = job[direction];
  if (ms !== undefined && ranMs < ms * 0.9) throw new Error(`fio measured for ${ranMs} ms in place of ${ms} ms`);
  return pattern === 'sequential' ? bytesPerSecond / 1e6 : iops;
};
