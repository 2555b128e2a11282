import type { Sealing } from '../sealing/sealing.ts';
import { RsaDispatch } from './dispatch.ts';
import type { RsaJob } from './job.ts';
import { KeyMaker } from './key-maker.ts';
import {
  type CipherJob,
  checkCiphertext,
  checkDigest,
  checkPlaintext,
  checkSize,
  modulusLength,
  plaintextLimit,
  type RewrapJob,
  type RsaEngine,
  type RsaKey,
} from './rsa.ts';
import { WorkerThread } from './thread.ts';

/** How an RSA pool is built. */
export interface RsaPoolOptions {
  readonly sealing: Sealing;
  /** Threads that use keys, at least 1: as many as there are cores. */
  readonly workers: number;
  /** Whether RSA1_5 may be used (KV-40). Default false. */
  readonly legacyPadding?: boolean;
  /** Jobs of one tenant that may wait, in each of the two queues. Default 4,096. */
  readonly queueLimit?: number;
  /** Private keys each thread keeps parsed; the least recently used is dropped. Default 2,000. */
  readonly keysPerWorker?: number;
  /** Script of the threads that use keys, and of the thread that makes them; tests replace them. */
  readonly workerUrl?: URL;
  readonly makerUrl?: URL;
}

const workerScript = new URL('./worker.ts', import.meta.url);

/**
 * RSA on worker threads. Private keys are opened only in the threads, which get each sealed key with its seal key once. New
 * keys are made on one more thread of lower priority, because making a key takes as long as a thousand unwraps.
 */
export function createRsaPool(options: RsaPoolOptions): RsaEngine {
  const { sealing, legacyPadding = false, queueLimit = 4096, keysPerWorker = 2000 } = options;
  const { workerUrl = workerScript, makerUrl = workerScript } = options;
  const threads = Array.from({ length: Math.max(1, options.workers) }, () => new WorkerThread(workerUrl));
  const dispatch = new RsaDispatch({ threads, sealing, queueLimit, keysPerThread: keysPerWorker });
  const maker = new KeyMaker(new WorkerThread(makerUrl, { isBackground: true }), sealing);

  const encrypt = async (key: RsaKey, job: CipherJob) =>
    dispatch.submit(encryptJob(key, job, legacyPadding), { tenant: key.tenant, isUrgent: job.urgent });
  const decrypt = async (key: RsaKey, job: CipherJob) =>
    dispatch.submit(decryptJob(key, job, legacyPadding), {
      tenant: key.tenant,
      privateKey: key,
      isUrgent: job.urgent,
    });

  return {
    async generate(version, bits, order) {
      checkSize(bits);
      return maker.make({ type: 'generate', version, bits }, order);
    },
    import: (version, material, order) => maker.make({ type: 'import', version, material }, order),
    encrypt,
    decrypt,
    wrap: encrypt,
    unwrap: decrypt,
    async rewrap(source, target, job) {
      const { tenant } = source;
      const options = { tenant, privateKey: source, isUrgent: job.urgent };
      return dispatch.submit(rewrapJob(source, target, job, legacyPadding), options);
    },
    async sign(key, job) {
      const { hash } = checkDigest(job);
      const work = { operation: 'sign', version: key.version, algorithm: job.algorithm, hash } as const;
      return dispatch.submit({ work, value: job.digest }, { tenant: key.tenant, privateKey: key });
    },
    async verify(key, { algorithm, digest, signature }) {
      const { hash } = checkDigest({ algorithm, digest });
      if (signature.length !== modulusLength(key.publicJwk)) return false;
      const work = { operation: 'verify', publicKey: publicKeyOf(key), algorithm, hash, signature } as const;
      const [matches] = await dispatch.submit({ work, value: digest }, { tenant: key.tenant });
      return matches === 1;
    },
    evict: (version) => dispatch.evict(version),
    async close() {
      await Promise.all([maker.close(), dispatch.close()]);
    },
  };
}

const publicKeyOf = ({ version, publicJwk }: RsaKey) => ({ version, jwk: publicJwk });

const encryptJob = (key: RsaKey, job: CipherJob, legacyPadding: boolean): RsaJob => {
  checkPlaintext(job, modulusLength(key.publicJwk), legacyPadding);
  return {
    work: { operation: 'encrypt', publicKey: publicKeyOf(key), algorithm: job.algorithm },
    value: job.value,
  };
};

const decryptJob = (key: RsaKey, job: CipherJob, legacyPadding: boolean): RsaJob => {
  checkCiphertext(job, modulusLength(key.publicJwk), legacyPadding);
  return { work: { operation: 'decrypt', version: key.version, algorithm: job.algorithm }, value: job.value };
};

const rewrapJob = (source: RsaKey, target: RsaKey, job: RewrapJob, legacyPadding: boolean): RsaJob => {
  const { sourceAlgorithm: algorithm, targetAlgorithm, value } = job;
  checkCiphertext({ algorithm, value }, modulusLength(source.publicJwk), legacyPadding);
  return {
    work: {
      operation: 'rewrap',
      version: source.version,
      algorithm,
      publicKey: publicKeyOf(target),
      targetAlgorithm,
      targetLimit: plaintextLimit(targetAlgorithm, modulusLength(target.publicJwk), legacyPadding),
    },
    value,
  };
};
