import {
  type Category,
  type Cause,
  type EventStore,
  Rejection,
  type TableDefinition,
  table,
} from '@interlock/event-store';
import type { SignToken, TokenFormat } from '@interlock/rpc';
import type { Clock, Random } from '@interlock/runtime';
import { type MasterKey, nonceLength, seal, unseal } from '@interlock/sealing';
import { activate, publishedKeys, type SigningKey, type SigningKeys, signingKeysId } from './decider.ts';
import type { SigningKeyEvent } from './events.ts';

/** The signing keys with their private halves. */
export interface KeyRing {
  /** The key that signs now, with its private half. */
  signing(): Promise<{ readonly kid: string; readonly sign: SignToken }>;
  /** The keys a verifier must accept now, newest last. */
  published(): Promise<readonly SigningKey[]>;
  /** Makes a new key sign; the ones before stay published for the overlap. The same request again changes nothing. */
  rotate(requestId: string, cause: Cause): Promise<readonly SigningKey[]>;
}

const materialDefinition: TableDefinition<{ readonly sealed: string }> = { name: 'signing_key_material', version: 1 };

/** Whether the store has the private half of a signing key. */
export const hasSigningKeys = async (store: EventStore): Promise<boolean> =>
  (await table(store, materialDefinition).list({ limit: 1 })).items.length > 0;

/**
 * Opens the ring and creates the first key if the ring is empty. Private keys are stored sealed under the master key, so that every
 * replica can sign.
 * @throws Rejection UNAVAILABLE MASTER_KEY_UNKNOWN
 * @param overlapMs how long a key stays published after it stopped signing: at least the longest token lifetime
 */
export const openKeyRing = async (parts: {
  readonly store: EventStore;
  readonly keys: Category<SigningKeys, SigningKeyEvent>;
  readonly masterKey: MasterKey;
  readonly format: TokenFormat;
  readonly clock: Clock;
  readonly random: Random;
  readonly overlapMs: number;
}): Promise<KeyRing> => {
  const { store, keys, masterKey, format, clock, random } = parts;
  const material = table(store, materialDefinition);
  const opened = new Map<string, SignToken>();
  const purposeOf = (kid: string) => `interlock signing key\0${kid}`;

  const signerOf = async (kid: string): Promise<SignToken> => {
    const known = opened.get(kid);
    if (known) return known;
    const row = await material.get(kid);
    const pkcs8 = row && unseal(masterKey.key, purposeOf(kid), Buffer.from(row.sealed, 'base64url'));
    if (!pkcs8) throw masterKeyUnknown(kid);
    const sign = format.openKey(pkcs8);
    pkcs8.fill(0);
    opened.set(kid, sign);
    return sign;
  };

  const rotate = async (requestId: string, cause: Cause): Promise<readonly SigningKey[]> => {
    const { n, e, pkcs8 } = await format.newKey();
    const kid = random.uuid();
    const sealed = Buffer.from(seal(masterKey.key, random.bytes(nonceLength), purposeOf(kid), pkcs8)).toString(
      'base64url',
    );
    pkcs8.fill(0);
    // The material first, so that a published key can always sign. Material of a lost race is never used.
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
    await rotate('first', { correlationId: random.uuid(), causes: [], caller: 'system:identity' });
  }
  const signing = async () => {
    const newest = (await published()).at(-1);
    if (!newest) throw new Error('there is always a signing key');
    return { kid: newest.kid, sign: await signerOf(newest.kid) };
  };
  await signing();
  return { published, rotate, signing };
};

const masterKeyUnknown = (kid: string): Rejection =>
  new Rejection(
    'UNAVAILABLE',
    'MASTER_KEY_UNKNOWN',
    `the private half of signing key ${kid} is missing or under another master key: put the file back that MASTER_KEY_FILE was before`,
    { signing_key: kid },
  );
