import type { Category, CategoryDefinition } from '@interlock/event-store';
import { rs256, type SignToken } from '@interlock/rpc';
import type { Clock, Instant, Random } from '@interlock/runtime';
import { type MasterKey, nonceLength, seal, unseal } from '@interlock/sealing';

/** The facts about the key that signs the gateway's tokens. */
type SigningKeyEvent = {
  readonly type: 'SigningKeyMade';
  readonly kid: string;
  /** Modulus and exponent, base64url. */
  readonly n: string;
  readonly e: string;
  /** PKCS #8, sealed under the master key, base64. */
  readonly sealed: string;
  readonly at: Instant;
};

type SigningKeyState = { readonly status: 'absent' } | ({ readonly status: 'made' } & Omit<SigningKeyEvent, 'type'>);

/** The stream of the signing key. The key is stored, so that tokens survive a restart and every replica accepts them. */
export const signingKeys: CategoryDefinition<SigningKeyState, SigningKeyEvent> = {
  name: 'gatewaysigningkey',
  stateVersion: 1,
  initial: { status: 'absent' },
  evolve: (_state, { type: _type, ...key }) => ({ status: 'made', ...key }),
};

const streamId = 'current';

/** The key that signs, with its public half. */
export interface SigningKey {
  readonly kid: string;
  readonly n: string;
  readonly e: string;
  readonly sign: SignToken;
}

/**
 * Opens the signing key of the store; makes it at the first start.
 * @throws Error if the master key is not the one that sealed it
 */
export const openSigningKey = async (parts: {
  readonly keys: Category<SigningKeyState, SigningKeyEvent>;
  readonly masterKey: MasterKey;
  readonly clock: Clock;
  readonly random: Random;
}): Promise<SigningKey> => {
  const { keys, masterKey, clock, random } = parts;
  let { state } = await keys.load(streamId);
  if (state.status === 'absent') {
    const kid = random.uuid();
    const { n, e, pkcs8 } = await rs256.newKey();
    const sealed = Buffer.from(seal(masterKey.key, random.bytes(nonceLength), purposeOf(kid), pkcs8)).toString(
      'base64',
    );
    pkcs8.fill(0);
    const made: SigningKeyEvent = { type: 'SigningKeyMade', kid, n, e, sealed, at: clock.now() };
    const cause = { correlationId: kid, causes: [], caller: 'system:gateway' };
    // Another replica may have been first: its key counts.
    ({ state } = await keys.transact(streamId, (now) => (now.status === 'absent' ? [made] : []), cause));
  }
  if (state.status === 'absent') throw new Error('the signing key was stored and is missing');
  const { kid, n, e, sealed } = state;
  const pkcs8 = unseal(masterKey.key, purposeOf(kid), Buffer.from(sealed, 'base64'));
  if (pkcs8 === undefined) {
    throw new Error(`the signing key ${kid} was sealed under another master key: put the file of MASTER_KEY_FILE back`);
  }
  const sign = rs256.openKey(pkcs8);
  pkcs8.fill(0);
  return { kid, n, e, sign };
};

const purposeOf = (kid: string): string => `interlock gateway signing key\0${kid}`;
