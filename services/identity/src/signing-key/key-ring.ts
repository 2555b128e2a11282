import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { type Category, type Cause, type EventStore, table } from '@interlock/event-store';
import type { Clock, Random } from '@interlock/runtime';
import { type MasterKey, nonceLength, seal, unseal } from '@interlock/sealing';
import { activate, publishedKeys, type SigningKey, type SigningKeys, signingKeysId } from './decider.ts';
import type { SigningKeyEvent } from './events.ts';

/** The private halves of the signing keys, and which of them signs. */
export interface KeyRing {
  /** The key that signs now, with its private half. */
  signing(): Promise<{ readonly kid: string; readonly privateKey: KeyObject }>;
  /** The keys a verifier must accept now, newest last. */
  published(): Promise<readonly SigningKey[]>;
  /** Makes a new key sign; the ones before stay published for the overlap. The same request again changes nothing. */
  rotate(requestId: string, cause: Cause): Promise<readonly SigningKey[]>;
}

/** RSA modulus of signing keys, in bits: RS256 asks for at least 2048 (RFC 7518 §3.3). */
const modulusLength = 2048;
const generate = promisify(generateKeyPair);

/**
 * Opens the ring, making the first key where there is none. Private keys lie sealed under the master key in the
 * service's store, so that every replica can sign.
 * @param overlapMs how long a key stays published after it stopped signing: at least the longest token lifetime
 */
export const openKeyRing = async (parts: {
  readonly store: EventStore;
  readonly keys: Category<SigningKeys, SigningKeyEvent>;
  readonly masterKey: MasterKey;
  readonly clock: Clock;
  readonly random: Random;
  readonly overlapMs: number;
}): Promise<KeyRing> => {
  const { store, keys, masterKey, clock, random } = parts;
  const material = table<{ readonly sealed: string }>(store, { name: 'signing_key_material', version: 1 });
  const opened = new Map<string, KeyObject>();
  const purposeOf = (kid: string) => `interlock signing key\0${kid}`;

  const privateKeyOf = async (kid: string): Promise<KeyObject> => {
    const known = opened.get(kid);
    if (known) return known;
    const row = await material.get(kid);
    const pkcs8 = row && unseal(masterKey.key, purposeOf(kid), Buffer.from(row.sealed, 'base64url'));
    if (!pkcs8) throw new Error(`the private half of signing key ${kid} is missing or under another master key`);
    const privateKey = createPrivateKey({ key: Buffer.from(pkcs8.buffer), format: 'der', type: 'pkcs8' });
    pkcs8.fill(0);
    opened.set(kid, privateKey);
    return privateKey;
  };

  const rotate = async (requestId: string, cause: Cause): Promise<readonly SigningKey[]> => {
    const { privateKey } = await generate('rsa', { modulusLength });
    const { n, e } = createPublicKey(privateKey).export({ format: 'jwk' });
    if (!n || !e) throw new Error('an RSA key exports n and e');
    const pkcs8 = privateKey.export({ format: 'der', type: 'pkcs8' });
    const kid = random.uuid();
    const sealed = Buffer.from(seal(masterKey.key, random.bytes(nonceLength), purposeOf(kid), pkcs8)).toString(
      'base64url',
    );
    pkcs8.fill(0);
    // The material first: a key that is announced can always sign. Material of a rotation that lost a race is inert.
    await store.commit({ rows: [material.put(kid, { sealed }, undefined)] }, cause);
    const { state } = await keys.transact(
      signingKeysId,
      activate(clock.now(), { kid, n, e, requestId }, parts.overlapMs),
      cause,
    );
    return publishedKeys(state, clock.now());
  };

  const published = async (): Promise<readonly SigningKey[]> => {
    const { state } = await keys.load(signingKeysId);
    return publishedKeys(state, clock.now());
  };

  // One name for the first key, so that replicas that start at once agree on one.
  if ((await published()).length === 0) {
    await rotate('first', { correlationId: random.uuid(), causationId: 'first', caller: 'system:identity' });
  }
  return {
    published,
    rotate,
    async signing() {
      const newest = (await published()).at(-1);
      if (!newest) throw new Error('there is always a signing key');
      return { kid: newest.kid, privateKey: await privateKeyOf(newest.kid) };
    },
  };
};
