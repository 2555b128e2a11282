import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { constants, getPriority, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { openPrivateKey, sealPrivateKey } from '../sealing/sealing.ts';
import { type ImportedKey, importRsaKey, publicJwkOf } from './import.ts';
import { createKeyring, performRsaJob } from './job.ts';
import {
  attempt,
  type Failure,
  type JobResults,
  type LoadKey,
  type MakeKey,
  packValues,
  type RsaReplies,
  type RsaRequest,
  unpackValues,
} from './messages.ts';
import type { NewRsaKey } from './rsa.ts';
import type { RsaThreadData } from './thread.ts';

/**
 * The thread that holds private keys, and the only place where one is in plain text. It is an entry point, like a `main.ts`: it
 * takes its randomness from the operating system itself.
 *
 * It handles messages in the order of arrival, so after the reply to `evict` no earlier job is left.
 */
const keyring = createKeyring();
const port = parentPort;
if (!port) throw new Error('rsa/worker.ts runs only as a worker thread');
const { isBackground }: RsaThreadData = workerData;
/**
 * Nice value of a background thread, above the usual one: under full load it gets a third of what another thread gets. With the
 * lowest priority it would get a sixtieth, and callers on a busy machine would give up before their key is made.
 */
const backgroundNice = 5;
// On Linux a priority belongs to the calling thread alone; elsewhere it would apply to the whole process.
if (isBackground && process.platform === 'linux') {
  setPriority(Math.min(constants.priority.PRIORITY_LOW, getPriority() + backgroundNice));
}

port.on('message', (request: RsaRequest & { readonly id: number }) => {
  const reply = replyTo(request);
  const buffers = request.type === 'jobs' && reply && 'values' in reply ? [reply.values.bytes.buffer] : [];
  port.postMessage({ id: request.id, reply }, buffers);
});

function replyTo(request: RsaRequest): RsaReplies[RsaRequest['type']] {
  switch (request.type) {
    case 'jobs':
      return performAll(request);
    case 'generate':
    case 'import':
      return attempt(() => makeKey(request, request.sealKey));
    case 'evict':
      keyring.forget(request.version);
  }
}

/** Opens a private key into the keyring. @returns why it cannot be opened */
function load({ version, sealed, sealKey }: LoadKey): Failure | undefined {
  const outcome = attempt(() => {
    const pkcs8 = openPrivateKey(sealKey, version, sealed);
    try {
      keyring.addPrivate(version, pkcs8);
    } finally {
      pkcs8.fill(0);
    }
  });
  sealKey.fill(0);
  return outcome.ok ? undefined : outcome;
}

/**
 * Makes a key on this thread. The asynchronous way would take a thread of Node's common pool, in which the reading of seal
 * keys would then wait behind it.
 */
function makeKey(request: MakeKey, sealKey: Uint8Array): NewRsaKey {
  try {
    const { pkcs8, ...key } = request.type === 'import' ? importRsaKey(request.material) : generate(request.bits);
    try {
      return { ...key, sealedPrivateKey: sealPrivateKey(sealKey, request.version, pkcs8, randomBytes(12)) };
    } finally {
      pkcs8.fill(0);
    }
  } finally {
    sealKey.fill(0);
  }
}

function generate(bits: number): ImportedKey {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: bits, publicExponent: 0x10001 });
  return { bits, publicJwk: publicJwkOf(publicKey), pkcs8: privateKey.export({ type: 'pkcs8', format: 'der' }) };
}

/** Does the jobs of a message, and leaves no copy of a result behind. */
function performAll({ key, jobs, values }: RsaRequest & { type: 'jobs' }): JobResults {
  const notLoaded = key && load(key);
  const failures = new Map<number, Failure>();
  const sources = unpackValues(values);
  const results = jobs.map((work, index): Uint8Array => {
    const value = sources[index] ?? empty;
    const outcome = notLoaded ?? attempt(() => performRsaJob(keyring, { work, value }));
    if (outcome.ok) return outcome.value;
    failures.set(index, outcome);
    return empty;
  });
  const packed = packValues(results);
  for (const result of results) result.fill(0);
  return { values: packed, failures };
}

const empty = new Uint8Array();
