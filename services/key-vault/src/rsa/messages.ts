import { Rejection, type RejectionCode } from '@interlock/event-store/rejection';
import type { RsaWork } from './job.ts';
import type { NewRsaKey, RsaImport } from './rsa.ts';

/** A private key for the keyring of a thread: sealed, with the seal key that opens it. The thread overwrites the seal key. */
export interface LoadKey {
  readonly version: string;
  readonly sealed: Uint8Array;
  readonly sealKey: Uint8Array<ArrayBuffer>;
}

/** A key to make. */
export type MakeKey =
  | { readonly type: 'generate'; readonly version: string; readonly bits: number }
  | { readonly type: 'import'; readonly version: string; readonly material: RsaImport };

/** What the pool sends to a thread. Equal jobs are the same object, which the message then contains once. */
export type RsaRequest =
  | {
      readonly type: 'jobs';
      /** The key of all these jobs, if the thread does not have it. */
      readonly key: LoadKey | undefined;
      readonly jobs: readonly RsaWork[];
      readonly values: PackedValues;
    }
  | (MakeKey & { readonly sealKey: Uint8Array<ArrayBuffer> })
  | { readonly type: 'evict'; readonly version: string };

/** What the thread replies, by the type of the request. */
export interface RsaReplies {
  readonly jobs: JobResults;
  readonly generate: Outcome<NewRsaKey>;
  readonly import: Outcome<NewRsaKey>;
  readonly evict: undefined;
}

/** A value for each job, in their order; empty for a job that failed. */
export interface JobResults {
  readonly values: PackedValues;
  /** By index of the job. */
  readonly failures: ReadonlyMap<number, Failure>;
}

export type Outcome<T> = { readonly ok: true; readonly value: T } | Failure;

/** A Rejection without its class, which structured cloning drops, or the text of any other error. */
export type Failure =
  | { readonly ok: false; readonly rejection: RejectionParts }
  | { readonly ok: false; readonly defect: string };

interface RejectionParts {
  readonly code: RejectionCode;
  readonly reason: string;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Runs `work` and returns its result or its error in a form that can be sent. */
export function attempt<T>(work: () => T): Outcome<T> {
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

/** The error that `attempt` caught. */
export function errorOf(failure: Failure): Error {
  if ('defect' in failure) return new Error(`an RSA job failed: ${failure.defect}`);
  const { code, reason, message, metadata } = failure.rejection;
  return new Rejection(code, reason, message, metadata);
}

/** Values end to end in one buffer, which is moved between threads. One buffer for each value would cost more than all else. */
export interface PackedValues {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly lengths: readonly number[];
}

/** Copies the values into one buffer. */
export const packValues = (values: readonly Uint8Array[]): PackedValues => {
  const lengths = values.map(({ length }) => length);
  const bytes = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
  let used = 0;
  for (const value of values) {
    bytes.set(value, used);
    used += value.length;
  }
  return { bytes, lengths };
};

/** Views of the buffer: overwriting a value overwrites the buffer. */
export const unpackValues = ({ bytes, lengths }: PackedValues): readonly Uint8Array[] => {
  let used = 0;
  return lengths.map((length) => {
    used += length;
    return bytes.subarray(used - length, used);
  });
};
