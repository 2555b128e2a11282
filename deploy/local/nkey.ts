import { nkeys } from '@nats-io/transport-node';

/** A user of NATS: it proves with its seed that it is whom the server knows by its public key. */
export interface Nkey {
  /** `SU…`: secret. */
  readonly seed: string;
  /** `U…`: the public key, for the server. */
  readonly publicKey: string;
}

/** Makes a new nkey. */
export const makeNkey = (): Nkey => {
  const pair = nkeys.createUser();
  return { seed: new TextDecoder().decode(pair.getSeed()), publicKey: pair.getPublicKey() };
};

/** The nkey with that seed. @throws Error for an invalid seed */
export const nkeyOf = (seed: string): Nkey => ({
  seed,
  publicKey: nkeys.fromSeed(new TextEncoder().encode(seed)).getPublicKey(),
});
