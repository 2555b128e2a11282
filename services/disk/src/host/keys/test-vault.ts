import { createHash } from 'node:crypto';
import type { ReportAccessLostRequest } from '@interlock/contracts/interlock/compute/v1/access_loss.ts';
import type { KeyExpiryPolicy } from '@interlock/contracts/interlock/disk_encryption_set/v1/set_options.ts';
import { UnwrapKeyRequest, type UnwrapKeysRequest } from '@interlock/contracts/interlock/key_vault/v1/cryptography.ts';
import {
  type CheckAccessRequest,
  type RewrapKeysRequest,
  RewrapRequest,
} from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import { Rejection } from '@interlock/event-store';
import { itemRefusal, RpcFailure, type TokenSource } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import type { Faults } from '../../testing/test-fault.ts';
import type { SetKey } from './set-keys.ts';

/** How the vault responds: normally, or with an error created for each call. */
export type VaultBehaviour = 'well' | ((what: 'checkAccess' | 'wrapKey' | 'unwrapKey' | 'rewrap') => Error | undefined);

/** Controls the services around a disk host under test. */
export interface TestVault {
  /** Sets how the vault responds from now on. */
  setVault(mood: VaultBehaviour): void;
  /** Sets the duration of every call to the vault, in ms. The vault decides after half of it. */
  setDelay(delayMs: number): void;
  /** The access epoch of the vault. */
  setEpoch(epoch: number): void;
  /** Unwraps requested so far. */
  unwraps(): number;
  /** Calls that requested them. */
  unwrapCalls(): number;
  /** Number of rewraps in each rewrap call, oldest first. */
  readonly rewrapCalls: number[];
  /** Access checks of leases and opens, oldest first. */
  readonly checks: CheckAccessRequest[];
  /** The reports that compute received, and its responses. */
  readonly reports: ReportAccessLostRequest[];
  setCompute(answer: 'accepts' | (() => Error)): void;
  /** Delays the response to the next unwrap until `release`. */
  holdUnwrap(): { readonly reached: Promise<void>; release(): void };
  /** Delays the response to the next access check of the key of a set, once it is decided, until `release`. */
  holdCheck(set: string): { readonly reached: Promise<void>; release(): void };
  keyOf(set: string): SetKey;
  /** Wraps with the public half of a key version, as anyone can. */
  wrapPublicly(keyVersion: string, payload: Uint8Array): Uint8Array;
  /** Gives the set another key version. */
  rotate(set: string): Promise<void>;
  /** Purges every version but the newest. */
  forgetKeysBefore(set: string): void;
  /** Sets the key expiry policy of every set. */
  setExpiryPolicy(policy: KeyExpiryPolicy): void;
  /** From now on the sets respond normally, or with an error created for each call. */
  setSets(answer: 'well' | (() => Error)): void;
}

/** The error of a call to an unreachable vault. */
export const noReply = (): Error => new RpcFailure('UNAVAILABLE', 'CheckAccess', 'key-vault', 'no connection');

/** A refusal of the vault. */
export const refusal =
  (reason: string, epoch?: number, only?: 'checkAccess'): Exclude<VaultBehaviour, 'well'> =>
  (what) =>
    only === undefined || what === only
      ? new Rejection('FAILED_PRECONDITION', reason, `${reason} by the vault`, {
          ...(epoch === undefined ? {} : { access_epoch: String(epoch) }),
        })
      : undefined;

/** A response that waits until the test releases it. */
interface Held {
  reach(): void;
  readonly released: Promise<void>;
}

const newHold = () => {
  const reached = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const hold: Held = { reach: reached.resolve, released: released.promise };
  return { hold, reached: reached.promise, release: released.resolve };
};

/** Fakes of the vault, sets, identity and compute. */
export const startTestVault = (parts: {
  readonly sets: readonly string[];
  readonly clock: Clock;
  readonly faults: Faults;
}) => {
  const { clock, faults } = parts;
  const keys = new Map<string, SetKey>(parts.sets.map((set, n) => [set, newKey(n + 1, 1)]));
  const forgotten = new Set<string>();
  const held: Held[] = [];
  /** By key version. */
  const heldChecks = new Map<string, Held>();
  const checks: CheckAccessRequest[] = [];
  const reports: ReportAccessLostRequest[] = [];
  const rewrapCalls: number[] = [];
  const state = {
    unwraps: 0,
    unwrapCalls: 0,
    mood: 'well' as VaultBehaviour,
    delayMs: 0,
    epoch: 1,
    compute: 'accepts' as 'accepts' | (() => Error),
    keyExpiry: 'STOP' as KeyExpiryPolicy,
    sets: 'well' as 'well' | (() => Error),
  };
  const keyOf = (set: string): SetKey => {
    const key = keys.get(set);
    if (!key) throw new Rejection('NOT_FOUND', 'DISK_ENCRYPTION_SET_NOT_FOUND', `${set} does not exist`);
    return key;
  };
  /** Wraps by XOR with a hash of the version's name: enough to distinguish versions. */
  const mix = (keyVersion: string, bytes: Uint8Array): Buffer => {
    if (forgotten.has(keyVersion))
      throw new Rejection('FAILED_PRECONDITION', 'KEY_PURGED', `${keyVersion} is gone`, { access_epoch: '9' });
    const pad = createHash('sha512').update(keyVersion).digest();
    const long = Buffer.concat([pad, createHash('sha512').update(pad).digest()]);
    return Buffer.from(bytes.map((byte, n) => byte ^ (long[n] ?? 0)));
  };

  const neighbours: Record<string, object> = {
    'disk-encryption-set': faults.wrap({
      getDiskEncryptionSet: async ({ name }: { name: string }) => {
        if (state.sets !== 'well') throw state.sets();
        const { principal, keyVersion, generation } = keyOf(name);
        const encryptionType = 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY';
        const { keyExpiry } = state;
        const activeKey = { keyVersion };
        return { identity: { principal }, activeKey, generation, location: 'l', encryptionType, keyExpiry };
      },
    }),
    identity: {
      issueManagedIdentityToken: async ({ principal }: { principal: string }) => ({
        accessToken: principal,
        expireTime: new Date(clock.now() + 3_600_000),
      }),
    },
    compute: {
      reportAccessLost: async (request: ReportAccessLostRequest) => {
        reports.push(request);
        if (state.compute !== 'accepts') throw state.compute();
        return { stoppingCount: 0 };
      },
    },
  };

  /** The vault as one identity sees it: the keys of that identity's set can be used, and no others. */
  const vaultAs = ({ token }: Pick<TokenSource, 'token'>) => {
    /** Decides after half of the delay. */
    const decided = async <Answer>(
      what: Parameters<Exclude<VaultBehaviour, 'well'>>[0],
      decide: () => Answer | Promise<Answer>,
    ): Promise<Answer> => {
      const { delayMs } = state;
      if (delayMs > 0) await clock.sleep(delayMs / 2);
      const error = state.mood === 'well' ? undefined : state.mood(what);
      const outcome = error ? { error } : { answer: await decide() };
      if (delayMs > 0) await clock.sleep(delayMs / 2);
      if ('error' in outcome) throw outcome.error;
      return outcome.answer;
    };
    const mixAs = async (keyVersion: string, bytes: Uint8Array): Promise<Buffer> => {
      const principal = await token('interlock:key-vault');
      if (!belongs(keyVersion, principal))
        throw new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', `${principal} may not use ${keyVersion}`);
      return mix(keyVersion, bytes);
    };
    return faults.wrap({
      checkAccess: (request: CheckAccessRequest) => {
        checks.push(request);
        return decided('checkAccess', async () => {
          const { keyVersion } = request;
          await mixAs(keyVersion, new Uint8Array());
          const hold = heldChecks.get(keyVersion);
          heldChecks.delete(keyVersion);
          hold?.reach();
          await hold?.released;
          return { keyVersion, accessEpoch: state.epoch, enabled: true };
        });
      },
      wrapKey: (request: { name: string; plaintextKey: Uint8Array }) =>
        decided('wrapKey', async () => ({ wrappedKey: await mixAs(request.name, request.plaintextKey) })),
      unwrapKeys: ({ items }: UnwrapKeysRequest) => {
        state.unwrapCalls += 1;
        return eachItem(items, ({ unwrap: { name, wrappedKey } = UnwrapKeyRequest.create() }) =>
          decided('unwrapKey', async () => {
            state.unwraps += 1;
            const plaintextKey = await mixAs(name, wrappedKey);
            const hold = held.shift();
            hold?.reach();
            await hold?.released;
            return { $case: 'unwrapped' as const, value: { plaintextKey } };
          }),
        );
      },
      rewrapKeys: ({ items }: RewrapKeysRequest) => {
        rewrapCalls.push(items.length);
        return eachItem(
          items,
          ({ rewrap: { sourceKeyVersion, targetKeyVersion, wrappedKey } = RewrapRequest.create() }) =>
            decided('rewrap', async () => {
              const moved = await mixAs(targetKeyVersion, await mixAs(sourceKeyVersion, wrappedKey));
              return { $case: 'rewrapped' as const, value: { wrappedKey: moved, accessEpoch: state.epoch } };
            }),
        );
      },
    });
  };

  const control: TestVault = {
    checks,
    rewrapCalls,
    reports,
    unwraps: () => state.unwraps,
    unwrapCalls: () => state.unwrapCalls,
    keyOf,
    wrapPublicly: mix,
    setVault: (mood) => Object.assign(state, { mood }),
    setDelay: (delayMs) => Object.assign(state, { delayMs }),
    setEpoch: (epoch) => Object.assign(state, { epoch }),
    setCompute: (compute) => Object.assign(state, { compute }),
    setExpiryPolicy: (keyExpiry) => Object.assign(state, { keyExpiry }),
    setSets: (sets) => Object.assign(state, { sets }),
    holdUnwrap() {
      const { hold, ...test } = newHold();
      held.push(hold);
      return test;
    },
    holdCheck(set) {
      const { hold, ...test } = newHold();
      heldChecks.set(keyOf(set).keyVersion, hold);
      return test;
    },
    async rotate(set) {
      const { generation } = keyOf(set);
      keys.set(set, newKey(parts.sets.indexOf(set) + 1, generation + 1));
    },
    forgetKeysBefore(set) {
      const { generation } = keyOf(set);
      for (let older = 1; older < generation; older++)
        forgotten.add(newKey(parts.sets.indexOf(set) + 1, older).keyVersion);
    },
  };
  return { control, neighbours, vaultAs };
};

/** Handles each item by itself, as the vault does. A refusal fails its item, any other error fails the call. */
const eachItem = async <Item, Outcome>(items: readonly Item[], handle: (item: Item) => Promise<Outcome>) => ({
  outcomes: await Promise.all(
    items.map(async (item) => {
      try {
        return { outcome: await handle(item) };
      } catch (error) {
        if (!(error instanceof Rejection)) throw error;
        return { outcome: { $case: 'refused' as const, value: itemRefusal(error) } };
      }
    }),
  ),
});

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
