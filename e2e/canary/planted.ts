import { createPrivateKey, generateKeyPairSync, hkdfSync, type KeyObject, randomBytes } from 'node:crypto';
import { unwrapDek } from '../rehearsal/files/owner-key.ts';
import { findVolumes } from '../rehearsal/files/volume.ts';
import type { Secret } from './scanner.ts';

/** A private key that its owner kept, so that a test can recognise it anywhere. */
export interface OwnKey {
  readonly name: string;
  readonly pem: string;
  readonly key: KeyObject;
}

/** Makes a key of 2,048 bits. */
export const newOwnKey = (name: string): OwnKey => {
  const { privateKey: key } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { name, key, pem: key.export({ type: 'pkcs8', format: 'pem' }).toString() };
};

/** The secret numbers of a private key: exponent, factors, and what is derived from them. */
export const secretsOfKey = ({ name, key }: OwnKey): readonly Secret[] => {
  const jwk = key.export({ format: 'jwk' });
  return (['d', 'p', 'q', 'dp', 'dq', 'qi'] as const).map((number) => ({
    name: `${name}.${number}`,
    bytes: Buffer.from(jwk[number] ?? '', 'base64url'),
  }));
};

/** Data keys of all disks and snapshots an owner's key opens, and the two keys of the cipher derived from each. */
export const secretsOfDisks = (volumes: string, keys: readonly OwnKey[]): readonly Secret[] =>
  [...findVolumes(volumes)].flatMap(([disk, { header }]) => {
    const dek = keys.map(({ pem }) => opened(() => unwrapDek(createPrivateKey(pem), header))).find(Boolean);
    if (dek === undefined) return [];
    const derived = (['data', 'tweak'] as const).map((purpose) => ({
      name: `${purpose} key of ${disk}`,
      bytes: Buffer.from(hkdfSync('sha256', dek, Buffer.alloc(0), `interlock disk v1: XTS ${purpose} key`, 32)),
    }));
    return [{ name: `DEK of ${disk}`, bytes: dek }, ...derived];
  });

/** Undefined if the key does not match: RSA-OAEP then fails. */
const opened = (open: () => Buffer): Buffer | undefined => {
  try {
    return open();
  } catch {
    return undefined;
  }
};

/** Recognisable plain text. */
export const newText = (name: string, length = 64): Secret => ({ name, bytes: randomBytes(length) });
