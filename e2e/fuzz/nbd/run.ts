import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { openCertificates } from '@interlock/local/certificates.ts';
import type { DataFolder } from '@interlock/local/data-folder.ts';
import { freePort } from '@interlock/local/free-port.ts';
import { startLocalCloud } from '@interlock/local/local-cloud.ts';
import type { Crash } from '@interlock/local/restartable.ts';
import { type Scope, seededRandom, systemClock } from '@interlock/runtime';
import { type Clients, openOutside } from '../../cloud/clients.ts';
import { descriptorCount } from '../../cloud/descriptors.ts';
import { residentMib } from '../../cloud/resident.ts';
import { until } from '../../cloud/until.ts';
import { location } from '../../cloud/world.ts';
import type { Attacked, AttackersSettings } from './attackers.ts';
import { Neighbour } from './neighbour.ts';
import type { NbdTarget } from './target.ts';

/** Largest resident memory of the disk service under hostile clients, in MiB. */
export const residentMaxMib = 350;
/** How many descriptors more than before the service may have after a run: connections to its servers come and go. */
const descriptorsTolerance = 8;
/** How many problems of the attackers are shown. */
const problemsMax = 20;
/** When all connections have ended at the latest, in milliseconds: above the longest deadline of the server. */
const quietWithinMs = 60_000;
/** How long a request of a client of another disk may take, in milliseconds. */
const hangMs = 2_000;
const gib = 1_073_741_824;

/** The findings of a run. */
export interface NbdFindings extends Attacked {
  readonly problems: readonly string[];
  readonly neighbour: { readonly requests: number; readonly slowestMs: number };
  readonly residentMib: { readonly before: number; readonly most: number; readonly after: number };
  readonly descriptors: { readonly before: number; readonly most: number; readonly after: number };
}

/** Creates a disk of 1 GiB and begins an access to it. */
export const makeTarget = async (
  clients: Pick<Clients, 'identity' | 'disks'>,
  door: Pick<NbdTarget, 'address' | 'tls'>,
): Promise<NbdTarget> => {
  const [{ name: subscription } = { name: '' }] = (await clients.identity.listSubscriptions({})).subscriptions;
  const diskId = `d${randomUUID().slice(0, 8)}`;
  const encryption = { type: 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY', diskEncryptionSet: '' } as const;
  const made = {
    parent: `${subscription}/resourceGroups/fuzz`,
    location,
    sku: 'PREMIUM_SSD',
    sizeGib: 1,
    diskId,
  } as const;
  const { name: disk } = await clients.disks.createDisk({ ...made, encryption });
  const access = { name: disk, accessLevel: 'WRITE', durationSeconds: 86_400 } as const;
  const { accessToken } = await clients.disks.beginAccess(access);
  return { ...door, disk, accessToken, size: gib };
};

/** Attacks one disk in a thread of its own, while clients of another disk read and write. */
export const fuzzNbd = async (options: {
  readonly attacked: NbdTarget;
  readonly other: NbdTarget;
  /** Of the disk service. */
  readonly pid: () => number;
  readonly seconds: number;
  readonly seed: number;
  /** Only attacks with this text in their name. */
  readonly only?: string | undefined;
  /** How long a request of the other clients may take, in milliseconds. */
  readonly hangMs: number;
}): Promise<NbdFindings> => {
  const { attacked, other, pid, seconds, seed, hangMs, only } = options;
  const resident = (): number => residentMib(pid()) ?? 0;
  const descriptors = (): number => descriptorCount(pid()) ?? 0;
  const neighbours = [true, false].map((isStructured) => {
    const random = seededRandom(seed).fork(`other client ${isStructured}`);
    // Each has its half of the disk.
    return new Neighbour(other, { random, hangMs, isStructured, from: isStructured ? 0 : gib / 2, size: gib / 2 });
  });
  // Everything that the service opens once is open after this.
  for (const neighbour of neighbours) {
    let count = 0;
    await neighbour.run(() => count++ > 20);
  }
  const before = { resident: resident(), descriptors: descriptors() };
  const most = { ...before };
  const sampling = setInterval(() => {
    most.resident = Math.max(most.resident, resident());
    most.descriptors = Math.max(most.descriptors, descriptors());
  }, 100);
  let isOver = false;
  const working = neighbours.map((neighbour) => neighbour.run(() => isOver));
  const done = await attackInThread({ target: attacked, seconds, seed, only });
  isOver = true;
  const found = await Promise.all(working);
  const problems = [...found.flatMap((one) => one.problems), ...done.problems.slice(0, problemsMax)];
  const isQuiet = async (): Promise<boolean> => descriptors() <= before.descriptors + descriptorsTolerance;
  await until('the service has as few descriptors as before', isQuiet, quietWithinMs).catch(() =>
    problems.push(`the service had ${before.descriptors} descriptors before and has ${descriptors()} after`),
  );
  clearInterval(sampling);
  if (most.resident > residentMaxMib) {
    problems.push(`the service had ${most.resident} MiB in memory; allowed are ${residentMaxMib}`);
  }
  return {
    ...done,
    problems,
    neighbour: {
      requests: found.reduce((sum, { requests }) => sum + requests, 0),
      slowestMs: Math.max(...found.map(({ slowestMs }) => slowestMs)),
    },
    residentMib: { before: before.resident, most: most.resident, after: resident() },
    descriptors: { before: before.descriptors, most: most.descriptors, after: descriptors() },
  };
};

const attackInThread = async (workerData: AttackersSettings): Promise<Attacked> => {
  const worker = new Worker(new URL('./attackers.ts', import.meta.url), { workerData });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error('the attackers ended without a result')));
  });
};

/** Where the disk service listens, and what its clients show. */
const doorOf = async (
  transport: 'unix' | 'tls',
  data: DataFolder,
): Promise<{ readonly listen: string; readonly address: NbdTarget['address'] }> => {
  if (transport === 'unix') {
    const path = data.path('nbd.sock');
    return { listen: `unix:${path}`, address: { path } };
  }
  const port = await freePort();
  return { listen: `tls://127.0.0.1:${port}`, address: { host: '127.0.0.1', port } };
};

/** `npm run fuzz -- --nbd`: half of the time over TLS, and half on a Unix socket, each with its own cloud. */
export const runNbdFuzz = async (options: {
  readonly data: DataFolder;
  readonly env: NodeJS.ProcessEnv;
  readonly scope: Scope;
  readonly seconds: number;
  readonly seed: number;
  /** Only attacks with this text in their name. */
  readonly only?: string | undefined;
  readonly onCrash: (crash: Crash) => void;
}): Promise<Readonly<Record<'tls' | 'unix', NbdFindings>>> => {
  const { data, env, scope, seconds, seed, only, onCrash } = options;
  const over = async (transport: 'unix' | 'tls'): Promise<NbdFindings> => {
    const { listen, address } = await doorOf(transport, data);
    const cloud = await startLocalCloud({ data, env, within: scope, onCrash, settings: { NBD_LISTEN: listen } });
    const outside = openOutside(cloud);
    const certificates = await openCertificates(data, systemClock.now());
    const pem = (file: string): string => readFileSync(file, 'utf8');
    const { authorityFile, certificateFile, keyFile } = certificates;
    const tls =
      transport === 'tls' ? { ca: pem(authorityFile), cert: pem(certificateFile), key: pem(keyFile) } : undefined;
    // The server may refuse new connections of an address that holds too many: the other client has an address of its own.
    const otherAddress = 'path' in address ? address : { ...address, localAddress: '127.0.0.2' };
    const [attacked, other] = [
      await makeTarget(outside.administrator, { address, tls }),
      await makeTarget(outside.administrator, { address: otherAddress, tls }),
    ];
    const pid = (): number => cloud.pid('disk');
    const found = await fuzzNbd({ attacked, other, pid, seconds: seconds / 2, seed, only, hangMs });
    outside.close();
    await cloud.stop();
    return found;
  };
  return { tls: await over('tls'), unix: await over('unix') };
};
