import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { LauncherError } from '@interlock/local/data-folder.ts';

/** Operations a second for one key size, all cores together. */
export interface RsaSpeed {
  /** Private key: an unwrap. */
  readonly decrypt: number;
  /** Public key: a wrap. */
  readonly encrypt: number;
}

/** The speed of OpenSSL alone, with one process for each core. @throws LauncherError without `openssl` 3 or newer */
export const rsaSpeed = async (bits: number, secondsEach: number): Promise<RsaSpeed> => {
  const cores = String(availableParallelism());
  return readRsaSpeed(await opensslSpeed(['-multi', cores, '-seconds', String(secondsEach), `rsa${bits}`]), bits);
};

/** Runs `openssl speed`. @returns its output @throws LauncherError if it cannot run */
export const opensslSpeed = async (args: readonly string[]): Promise<string> => {
  const { stdout } = await promisify(execFile)('openssl', ['speed', ...args]).catch((cause: unknown) => {
    throw new LauncherError(
      `"openssl speed ${args.join(' ')}" is the floor of this bench and failed: ${cause} Install it with apt-get install openssl.`,
    );
  });
  return stdout;
};

/** Reads the table of `openssl speed`. @throws LauncherError if it has no line for this size */
export const readRsaSpeed = (output: string, bits: number): RsaSpeed => {
  // rsa 2048 bits 0.000107s 0.000007s 0.000007s 0.000110s   9345.5 142857.0 141000.0   9080.0
  const line = output.split('\n').find((one) => new RegExp(`^rsa +${bits} bits `).test(one));
  const [decrypt, encrypt] = (line?.trim().split(/\s+/) ?? []).reverse().map(Number);
  if (decrypt === undefined || encrypt === undefined || !(decrypt > 0 && encrypt > 0))
    throw new LauncherError(`openssl speed printed no line for rsa${bits}; it must be version 3 or newer:\n${output}`);
  return { decrypt, encrypt };
};
