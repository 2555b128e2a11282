import type { LossReason } from '@interlock/access';
import { FINAL_EPOCH } from '@interlock/access';
import { IdentityEvent } from '@interlock/contracts/interlock/identity/v1/identity_events.ts';
import { KeyVaultEvent } from '@interlock/contracts/interlock/key_vault/v1/key_vault_events.ts';
import type { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import type { Category, Cause, Loaded } from '@interlock/event-store';
import { type Handler, type Handlers, NO_EFFECT } from '@interlock/messaging';
import { type Clock, DomainAttribute, traceIdOf } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { loseKey, questionKey } from './set/access.ts';
import { type ChangeScope, ofKey, ofPrincipal, ofVault, ofVersion, versionsInScope } from './set/change-scope.ts';
import type { SetEvent } from './set/events.ts';
import { noticeNewer } from './set/key-change.ts';
import type { DiskEncryptionSet } from './set/state.ts';

/** The facts of key-vault that can change access to a key, or which version is the newest. */
const keyVaultFacts = [
  'KeyVersionCreated',
  'KeyVersionDisabled',
  'KeyVersionEnabled',
  'KeyVersionDatesSet',
  'KeyOperationsSet',
  'KeyExpired',
  'KeyDeleted',
  'KeyRecovered',
  'KeyPurged',
  'AccessPolicySet',
  'AccessPolicyRemoved',
  'PermissionModelSet',
  'NetworkRulesSet',
  'GrantsChanged',
  'VaultDeleted',
  'VaultRecovered',
  'VaultPurged',
] as const;

/** After these events a set has to call the vault. */
const leavesWork: readonly SetEvent['type'][] = ['KeyAccessQuestioned', 'NewerVersionNoticed'];

/** The effect of a fact on sets. */
interface Effect {
  /** Sets and versions concerned: they lose access for `reason`; without one their access is to be checked at the vault. */
  readonly reach?: ChangeScope;
  readonly reason?: LossReason;
  /** Default: the position of the fact (decision 0008). */
  readonly epoch?: number;
  /** When access changed. Default: when the event was committed. */
  readonly since?: Date | undefined;
  /** A key whose versions changed: the sets that follow it look for the newest. */
  readonly versionsOf?: string;
}

const keyVaultEffect = (event: KeyVaultEvent['event']): Effect => {
  switch (event?.$case) {
    case 'keyVersionCreated':
      return { versionsOf: event.value.key };
    case 'keyVersionDisabled':
      return { reach: ofVersion(event.value.keyVersion), reason: 'KEY_DISABLED' };
    case 'keyVersionEnabled':
      return { reach: ofVersion(event.value.keyVersion), versionsOf: event.value.key };
    case 'keyExpired':
      return { reach: ofVersion(event.value.keyVersion), reason: 'KEY_EXPIRED', since: event.value.expireTime };
    case 'keyVersionDatesSet': {
      const { key, keyVersion, reason } = event.value;
      const isLoss = reason === 'KEY_EXPIRED' || reason === 'KEY_NOT_YET_VALID';
      return { reach: ofVersion(keyVersion), versionsOf: key, ...(isLoss ? { reason } : {}) };
    }
    case 'keyOperationsSet': {
      const { key, keyVersion, reason } = event.value;
      return { reach: ofVersion(keyVersion), versionsOf: key, ...(reason === 'ACCESS_DENIED' ? { reason } : {}) };
    }
    case 'keyDeleted':
      return { reach: ofKey(event.value.key), reason: 'KEY_DELETED' };
    case 'keyPurged':
      return { reach: ofKey(event.value.key), reason: 'KEY_PURGED' };
    case 'keyRecovered':
      return { reach: ofKey(event.value.key) };
    case 'vaultDeleted':
      return { reach: ofVault(event.value.vault), reason: 'VAULT_DELETED' };
    case 'vaultPurged':
      return { reach: ofVault(event.value.vault), reason: 'KEY_PURGED' };
    case 'vaultRecovered':
    case 'permissionModelSet':
    case 'networkRulesSet':
      return { reach: ofVault(event.value.vault) };
    case 'accessPolicySet':
    case 'accessPolicyRemoved':
      return { reach: ofPrincipal(event.value.principal, event.value.vault) };
    case 'grantsChanged':
      return { reach: ofPrincipal(event.value.principal, event.value.key || event.value.vault) };
    default:
      return {};
  }
};

const identityEffect = (event: IdentityEvent['event']): Effect => {
  if (event?.$case !== 'principalDeleted') return {};
  const { principal, deleteTime: since } = event.value;
  return { reach: ofPrincipal(principal, ''), reason: 'IDENTITY_DELETED', epoch: FINAL_EPOCH, since };
};

/**
 * How sets react to facts of key-vault and identity.
 *
 * A fact that removes access is decided at once, in one commit for all sets concerned. A fact that may remove or restore
 * access is stored as a question; the vault is called outside the consumer, so that its outage never delays the next loss.
 */
export const reactions = (parts: {
  readonly clock: Clock;
  readonly sets: Category<DiskEncryptionSet, SetEvent>;
  /** Schedules the remaining work of a set. */
  readonly schedule: (set: string, cause: Cause) => void;
}): { readonly keyVault: Handlers; readonly identity: Handlers } => {
  const { clock, sets, schedule } = parts;

  /**
   * @returns the sets that changed
   * @throws Rejection CONTENTION, after all others are decided, if others keep changing a set: the fact is consumed again
   */
  const decide = async (
    concerned: readonly (string | Loaded<DiskEncryptionSet>)[],
    decision: (set: DiskEncryptionSet) => readonly SetEvent[],
    cause: Cause,
  ): Promise<void> => {
    const { changed, rejected } = await sets.transactMany(concerned, decision, cause, { onContention: 'reject' });
    for (const { id, events } of changed) if (events.some(({ type }) => leavesWork.includes(type))) schedule(id, cause);
    for (const { rejection } of rejected) if (rejection.reason === 'CONTENTION') throw rejection;
  };

  const followNewest = async (key: string, position: number, cause: Cause): Promise<void> =>
    decide(await sets.listAll({ index: ofKey(key).index }), noticeNewer(position), cause);

  const apply = async (fact: Fact, effect: Effect, cause: Cause): Promise<typeof NO_EFFECT> => {
    const { reach, reason, epoch = fact.position, versionsOf } = effect;
    if (versionsOf !== undefined) await followNewest(versionsOf, fact.position, cause);
    if (reach === undefined) return NO_EFFECT;
    const at = clock.now();
    const since = (effect.since ?? fact.eventTime)?.getTime() ?? at;
    const traceId = traceIdOf(fact.traceparent) ?? '';
    if (reason !== undefined) trace.getActiveSpan()?.setAttribute(DomainAttribute.reason, reason);
    const decisionFor = (keyVersion: string) =>
      reason === undefined
        ? questionKey(keyVersion, { epoch, since, traceId })
        : loseKey(at, { keyVersion, reason, epoch, since, traceId });
    const decision = (set: DiskEncryptionSet): readonly SetEvent[] =>
      set.status === 'absent' ? [] : versionsInScope(reach, set).flatMap((version) => decisionFor(version)(set));
    await decide(await sets.listAll({ index: reach.index }), decision, cause);
    return NO_EFFECT;
  };

  const onKeyVault: Handler = (fact, { cause }) => {
    const { event, changeTime: since } = KeyVaultEvent.decode(fact.payload);
    return apply(fact, { since, ...keyVaultEffect(event) }, cause);
  };
  return {
    keyVault: Object.fromEntries(keyVaultFacts.map((type) => [type, onKeyVault])),
    identity: {
      PrincipalDeleted: (fact, { cause }) =>
        apply(fact, identityEffect(IdentityEvent.decode(fact.payload).event), cause),
    },
  };
};
