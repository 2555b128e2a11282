import { createHash } from 'node:crypto';
import { Rejection } from '@interlock/event-store';
import type { SetKey } from './set-keys.ts';

/** The keys of sets, with wraps that are cheap and tell key versions apart. */
export interface TestKeys {
  /** The key in force of a set. @throws Rejection DISK_ENCRYPTION_SET_NOT_FOUND */
  keyOf(set: string): SetKey;
  /** Gives the set another key version. */
  rotate(set: string): Promise<void>;
  /** Purges every version but the newest. */
  forgetKeysBefore(set: string): void;
  /**
   * Wraps with the public half of a key version, as anyone can. The same call unwraps: it is an XOR with a hash of the version's
   * name. @throws Rejection KEY_PURGED
   */
  wrapPublicly(keyVersion: string, payload: Uint8Array): Buffer;
  /** Wraps or unwraps as an identity. @throws Rejection ACCESS_DENIED unless the key belongs to the set of that identity; KEY_PURGED */
  useKey(principal: string, keyVersion: string, payload: Uint8Array): Buffer;
}

/** Keys of sets, each at its first version. */
export const testKeys = (sets: readonly string[]): TestKeys => {
  const keys = new Map(sets.map((set, n) => [set, newKey(n + 1, 1)]));
  const purged = new Set<string>();
  const keyOf = (set: string): SetKey => {
    const key = keys.get(set);
    if (!key) throw new Rejection('NOT_FOUND', 'DISK_ENCRYPTION_SET_NOT_FOUND', `${set} does not exist`);
    return key;
  };
  const wrapPublicly = (keyVersion: string, payload: Uint8Array): Buffer => {
    if (purged.has(keyVersion))
      throw new Rejection('FAILED_PRECONDITION', 'KEY_PURGED', `${keyVersion} is gone`, { access_epoch: '9' });
    const pad = createHash('sha512').update(keyVersion).digest();
    const long = Buffer.concat([pad, createHash('sha512').update(pad).digest()]);
    return Buffer.from(payload.map((byte, n) => byte ^ (long[n] ?? 0)));
  };
  return {
    keyOf,
    wrapPublicly,
    async rotate(set) {
      keys.set(set, newKey(sets.indexOf(set) + 1, keyOf(set).generation + 1));
    },
    forgetKeysBefore(set) {
      const { generation } = keyOf(set);
      for (let older = 1; older < generation; older++) purged.add(newKey(sets.indexOf(set) + 1, older).keyVersion);
    },
    useKey(principal, keyVersion, payload) {
      if (!belongs(keyVersion, principal))
        throw new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', `${principal} may not use ${keyVersion}`);
      return wrapPublicly(keyVersion, payload);
    },
  };
};

const principalOf = (n: number | string): string => `principals/0000000${n}-0000-0000-0000-000000000000`;

const newKey = (n: number, generation: number): SetKey => ({
  principal: principalOf(n),
  keyVersion: `vaults/vvv/keys/k${n}/versions/${String(generation).padStart(32, '0')}`,
  generation,
});

/** Whether a key version belongs to the set of the identity. */
const belongs = (keyVersion: string, principal: string): boolean => {
  const [, n = ''] = /\/keys\/k(\d)\//.exec(keyVersion) ?? [];
  return principal === principalOf(n);
};
