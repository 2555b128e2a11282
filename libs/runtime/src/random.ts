import { randomBytes, randomUUID } from 'node:crypto';

/**
 * The one source of chance below `main.ts`. The real one is the operating system's cryptographic generator; the
 * simulated one is a seeded generator, so that a run can be repeated exactly.
 */
export interface Random {
  /** `length` unpredictable bytes. Key material is made from these and from nothing else. */
  bytes(length: number): Uint8Array;
  /** A version 4 UUID in lower case. */
  uuid(): string;
  /** A number in [0, 1): for jitter, never for secrets. */
  fraction(): number;
}

/** The operating system's generator. */
export const systemRandom: Random = {
  bytes: (length) => randomBytes(length),
  uuid: () => randomUUID(),
  fraction: () => Math.random(),
};
