import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { LauncherError } from '@interlock/local/data-folder.ts';

/** Operations a second of all processes together, with one key size. */
export interface RsaSpeed {
  /** With the private key, as an unwrap. */
  readonly decrypt: number;
  /** With the public key, as a wrap. */
  readonly encrypt: number;
}

/**
 * What the machine's own OpenSSL does with nothing around it: as many processes as there are cores.
 * @throws LauncherError where `openssl` is not there, or does not answer as version 3 does
 */
export const rsaSpeed = async (bits: number, secondsEach: number): Promise<RsaSpeed> => {
  const args = ['speed', '-multi', String(availableParallelism()), '-seconds', String(secondsEach), `rsa${bits}`];
  const { stdout } = await promisify(execFile)('openssl', args).catch((cause: unknown) => {
    throw new LauncherError(`"openssl ${args.join(' ')}" is the floor of this bench and could not be run: ${cause}`);
  });
  return readRsaSpeed(stdout, bits);
};

/** Reads the table of `openssl speed`. @throws LauncherError where it has no line for this size */
export const readRsaSpeed = (output: string, bits: number): RsaSpeed => {
  // rsa 2048 bits 0.000107s 0.000007s 0.000007s 0.000110s   9345.5 142857.0 141000.0   9080.0
  const line = output.split('\n').find((one) => new RegExp(`^rsa +${bits} bits `).test(one));
  const [decrypt, encrypt] = (line?.trim().split(/\s+/) ?? []).reverse().map(Number);
  if (decrypt === undefined || encrypt === undefined || !(decrypt > 0 && encrypt > 0))
    throw new LauncherError(`openssl speed said nothing about rsa${bits}; version 3 or newer is needed:\n${output}`);
  return { decrypt, encrypt };
};
