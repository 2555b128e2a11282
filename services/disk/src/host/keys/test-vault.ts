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
import { type TestKeys, testKeys } from './test-vault-keys.ts';

type VaultCall = 'checkAccess' | 'wrapKey' | 'unwrapKey' | 'rewrap';

/** How the vault responds: normally, or with an error created for each call. */
export type VaultBehaviour = 'well' | ((what: VaultCall) => Error | undefined);

/** Controls the services around a disk host under test. */
export interface TestVault extends Omit<TestKeys, 'useKey'> {
  /** Sets how the vault responds from now on. */
  setVault(behaviour: VaultBehaviour): void;
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

/** What the fakes do and have seen. */
class VaultState {
  readonly checks: CheckAccessRequest[] = [];
  readonly reports: ReportAccessLostRequest[] = [];
  readonly rewrapCalls: number[] = [];
  readonly heldUnwraps: Held[] = [];
  /** By key version. */
  readonly heldChecks = new Map<string, Held>();
  unwraps = 0;
  unwrapCalls = 0;
  behaviour: VaultBehaviour = 'well';
  delayMs = 0;
  epoch = 1;
  compute: 'accepts' | (() => Error) = 'accepts';
  keyExpiry: KeyExpiryPolicy = 'STOP';
  sets: 'well' | (() => Error) = 'well';
}

/** What the fakes share. */
interface VaultParts {
  readonly clock: Clock;
  readonly faults: Faults;
  readonly keys: TestKeys;
  readonly state: VaultState;
}

/**
 * Fakes of the vault, sets, identity and compute. The real ones run with the disk service in e2e/simulation. Tests of leases need
 * what those cannot give: an error of one kind of call, a duration of each call to the millisecond, a response that waits.
 */
export const startTestVault = ({
  sets,
  ...around
}: Pick<VaultParts, 'clock' | 'faults'> & { readonly sets: readonly string[] }) => {
  const parts = { ...around, keys: testKeys(sets), state: new VaultState() };
  return {
    control: controlOf(parts),
    neighbours: neighboursOf(parts),
    vaultAs: (identity: Pick<TokenSource, 'token'>) => vaultAs(parts, identity),
  };
};

/** The sets, identity and compute, by name, with the methods that a disk host calls. */
const neighboursOf = ({ clock, faults, keys, state }: VaultParts): Record<string, object> => ({
  'disk-encryption-set': faults.wrap({
    getDiskEncryptionSet: async ({ name }: { name: string }) => {
      if (state.sets !== 'well') throw state.sets();
      const { principal, keyVersion, generation } = keys.keyOf(name);
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
      state.reports.push(request);
      if (state.compute !== 'accepts') throw state.compute();
      return { stoppingCount: 0 };
    },
  },
});

/** The vault as one identity sees it: the keys of that identity's set can be used, and no others. */
const vaultAs = ({ clock, faults, keys, state }: VaultParts, { token }: Pick<TokenSource, 'token'>) => {
  const decided = <Answer>(what: VaultCall, decide: () => Promise<Answer>) => decideIn(clock, state, what, decide);
  const use = async (keyVersion: string, bytes: Uint8Array): Promise<Buffer> =>
    keys.useKey(await token('interlock:key-vault'), keyVersion, bytes);
  return faults.wrap({
    checkAccess: (request: CheckAccessRequest) => {
      state.checks.push(request);
      return decided('checkAccess', async () => {
        const { keyVersion } = request;
        await use(keyVersion, new Uint8Array());
        const hold = state.heldChecks.get(keyVersion);
        state.heldChecks.delete(keyVersion);
        await passHold(hold);
        return { keyVersion, accessEpoch: state.epoch, enabled: true };
      });
    },
    wrapKey: (request: { name: string; plaintextKey: Uint8Array }) =>
      decided('wrapKey', async () => ({ wrappedKey: await use(request.name, request.plaintextKey) })),
    unwrapKeys: ({ items }: UnwrapKeysRequest) => {
      state.unwrapCalls += 1;
      return eachItem(items, ({ unwrap: { name, wrappedKey } = UnwrapKeyRequest.create() }) =>
        decided('unwrapKey', async () => {
          state.unwraps += 1;
          const plaintextKey = await use(name, wrappedKey);
          await passHold(state.heldUnwraps.shift());
          return { $case: 'unwrapped' as const, value: { plaintextKey } };
        }),
      );
    },
    rewrapKeys: ({ items }: RewrapKeysRequest) => {
      state.rewrapCalls.push(items.length);
      return eachItem(
        items,
        ({ rewrap: { sourceKeyVersion, targetKeyVersion, wrappedKey } = RewrapRequest.create() }) =>
          decided('rewrap', async () => {
            const moved = await use(targetKeyVersion, await use(sourceKeyVersion, wrappedKey));
            return { $case: 'rewrapped' as const, value: { wrappedKey: moved, accessEpoch: state.epoch } };
          }),
      );
    },
  });
};

/** Decides a call after half of its duration. */
const decideIn = async <Answer>(
  clock: Clock,
  state: VaultState,
  what: VaultCall,
  decide: () => Promise<Answer>,
): Promise<Answer> => {
  const { delayMs } = state;
  if (delayMs > 0) await clock.sleep(delayMs / 2);
  const error = state.behaviour === 'well' ? undefined : state.behaviour(what);
  const outcome = error ? { error } : { answer: await decide() };
  if (delayMs > 0) await clock.sleep(delayMs / 2);
  if ('error' in outcome) throw outcome.error;
  return outcome.answer;
};

/** Waits until the test releases a response, if it holds this one. */
const passHold = async (hold: Held | undefined): Promise<void> => {
  hold?.reach();
  await hold?.released;
};

const controlOf = ({ keys, state }: VaultParts): TestVault => {
  const { useKey: _, ...ofKeys } = keys;
  return {
    ...ofKeys,
    checks: state.checks,
    rewrapCalls: state.rewrapCalls,
    reports: state.reports,
    unwraps: () => state.unwraps,
    unwrapCalls: () => state.unwrapCalls,
    setVault: (behaviour) => Object.assign(state, { behaviour }),
    setDelay: (delayMs) => Object.assign(state, { delayMs }),
    setEpoch: (epoch) => Object.assign(state, { epoch }),
    setCompute: (compute) => Object.assign(state, { compute }),
    setExpiryPolicy: (keyExpiry) => Object.assign(state, { keyExpiry }),
    setSets: (sets) => Object.assign(state, { sets }),
    holdUnwrap() {
      const { hold, ...test } = newHold();
      state.heldUnwraps.push(hold);
      return test;
    },
    holdCheck(set) {
      const { hold, ...test } = newHold();
      state.heldChecks.set(keys.keyOf(set).keyVersion, hold);
      return test;
    },
  };
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
