import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { constants, getPriority, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { Rejection, type RejectionCode } from '@interlock/event-store';
import { openPrivateKey, sealPrivateKey } from '../sealing/sealing.ts';
import { importRsaKey, publicJwkOf } from './import.ts';
import { createKeyring, performRsaJob, type RsaWork } from './job.ts';
import { type PackedValues, packValues, unpackValues } from './packed-values.ts';
import type { NewRsaKey, RsaImport } from './rsa.ts';
import type { RsaThreadData } from './thread.ts';

/**
 * The thread that holds private keys, and the only place of the whole system where one is in plain text. It is an entry
 * point, like a `main.ts`: it takes its randomness from the operating system itself.
 *
 * Messages are handled in the order they come in, so an answer to `evict` means that no earlier job is left.
 */
export type ToWorker =
  | ({ readonly type: 'jobs'; readonly id: number; readonly keys: readonly LoadKey[] } & PackedJobs)
  | { readonly type: 'generate'; readonly id: number; readonly version: string; bits: number; sealKey: Uint8Array }
  | { readonly type: 'import'; readonly id: number; readonly version: string; material: RsaImport; sealKey: Uint8Array }
  | { readonly type: 'evict'; readonly id: number; readonly version: string };

/** Jobs, and a value for each. Jobs that are one object travel as one. */
export interface PackedJobs {
  readonly jobs: readonly RsaWork[];
  readonly values: PackedValues;
}

/** A private key for the worker's keyring: sealed, with the seal key that opens it (moved here, and cleared). */
export interface LoadKey {
  readonly version: string;
  readonly sealed: Uint8Array;
  readonly sealKey: Uint8Array;
}

/** What became of one job. */
export type Outcome<T> = { readonly ok: true; readonly value: T } | Failure;

/** A failure that is no Rejection carries only a text. */
export type Failure =
  | { readonly ok: false; readonly rejection: RejectionParts }
  | { readonly ok: false; readonly defect: string };

/** A Rejection without its class, which does not survive the way between threads. */
export interface RejectionParts {
  readonly code: RejectionCode;
  readonly reason: string;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The worker's answer to the message of the same id. */
export type FromWorker =
  | ({ readonly type: 'jobs'; readonly id: number } & PackedOutcomes)
  | { readonly type: 'key'; readonly id: number; readonly outcome: Outcome<NewRsaKey> }
  | { readonly type: 'evicted'; readonly id: number };

/** What became of jobs, in their order: a value for each, empty for one that failed. */
export interface PackedOutcomes {
  readonly values: PackedValues;
  /** By number of the job. */
  readonly failures: ReadonlyMap<number, Failure>;
}

const keyring = createKeyring();
const port = parentPort;
if (!port) throw new Error('rsa-worker.ts runs only as a worker thread');
const { isBackground }: RsaThreadData = workerData;
/**
 * How much nicer a background thread is: under full load it gets a third of what each thread that uses keys gets. The lowest
 * priority would get a sixtieth, and on a busy machine a key would not be made before its caller gives up.
 */
const backgroundNice = 5;
// On Linux a priority belongs to the calling thread alone; elsewhere it would be the whole process's.
if (isBackground && process.platform === 'linux') {
  setPriority(Math.min(constants.priority.PRIORITY_LOW, getPriority() + backgroundNice));
}

port.on('message', (message: ToWorker) => {
  switch (message.type) {
    case 'jobs': {
      const { values, failures } = performAll(message, loadKeys(message.keys));
      return answer({ type: 'jobs', id: message.id, values, failures }, [values.bytes.buffer]);
    }
    case 'generate':
      return answer({ type: 'key', id: message.id, outcome: attempt(() => generate(message)) });
    case 'import':
      return answer({
        type: 'key',
        id: message.id,
        outcome: attempt(() => {
          const { bits, publicJwk, pkcs8 } = importRsaKey(message.material);
          return { bits, publicJwk, sealedPrivateKey: sealNew(message.sealKey, message.version, pkcs8) };
        }),
      });
    case 'evict':
      keyring.forget(message.version);
      return answer({ type: 'evicted', id: message.id });
  }
});

function answer(message: FromWorker, buffers: readonly ArrayBuffer[] = []): void {
  port?.postMessage(message, [...buffers]);
}

/** @returns versions whose key could not be opened, with the answer for each job that needs them. */
function loadKeys(keys: readonly LoadKey[]): Map<string, Failure> {
  const broken = new Map<string, Failure>();
  for (const { version, sealed, sealKey } of keys) {
    const outcome = attempt(() => {
      const pkcs8 = openPrivateKey(sealKey, version, sealed);
      try {
        keyring.addPrivate(version, pkcs8);
      } finally {
        pkcs8.fill(0);
      }
    });
    sealKey.fill(0);
    if (!outcome.ok) broken.set(version, outcome);
  }
  return broken;
}

/**
 * Makes a key on this thread. The asynchronous way would take a thread of Node's common pool, in which the reading of seal
 * keys would then wait behind it.
 */
function generate({ version, bits, sealKey }: ToWorker & { type: 'generate' }): NewRsaKey {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: bits, publicExponent: 0x10001 });
  const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' });
  return { bits, publicJwk: publicJwkOf(publicKey), sealedPrivateKey: sealNew(sealKey, version, pkcs8) };
}

function sealNew(sealKey: Uint8Array, version: string, pkcs8: Uint8Array): Uint8Array {
  try {
    return sealPrivateKey(sealKey, version, pkcs8, randomBytes(12));
  } finally {
    pkcs8.fill(0);
    sealKey.fill(0);
  }
}

/** Does all jobs of a message. No copy of a result stays behind. @param broken versions whose key could not be opened */
function performAll({ jobs, values }: PackedJobs, broken: ReadonlyMap<string, Failure>): PackedOutcomes {
  const failures = new Map<number, Failure>();
  const sources = unpackValues(values);
  const results = jobs.map((work, number): Uint8Array => {
    const value = sources[number] ?? nothing;
    const outcome =
      ('version' in work ? broken.get(work.version) : undefined) ??
      attempt(() => performRsaJob(keyring, { work, value }));
    if (outcome.ok) return outcome.value;
    failures.set(number, outcome);
    return nothing;
  });
  const packed = packValues(results);
  for (const result of results) result.fill(0);
  return { values: packed, failures };
}

const nothing = new Uint8Array();

function attempt<T>(work: () => T): Outcome<T> {
  try {
    return { ok: true, value: work() };
  } catch (cause) {
    if (cause instanceof Rejection) {
      const { code, reason, message, metadata } = cause;
      return { ok: false, rejection: { code, reason, message, metadata } };
    }
    return { ok: false, defect: cause instanceof Error ? cause.message : String(cause) };
  }
}
