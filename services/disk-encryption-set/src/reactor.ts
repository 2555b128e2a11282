import { IdentityEvent } from '@interlock/contracts/interlock/identity/v1/identity_events.ts';
import { KeyVaultEvent } from '@interlock/contracts/interlock/key_vault/v1/key_vault_events.ts';
import type { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import type { Category, Cause, Loaded } from '@interlock/event-store';
import { type FactContext, type Handler, type Handlers, NO_EFFECT } from '@interlock/messaging';
import { type Clock, DomainAttribute, traceIdOf } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { loseKey, questionKey } from './set/access.ts';
import type { SetEvent } from './set/events.ts';
import { noticeNewer } from './set/key-change.ts';
import { ofKey, ofPrincipal, ofVault, ofVersion, type Reach, reachedVersions } from './set/reach.ts';
import { FINAL_EPOCH, type LossReason } from './set/reasons.ts';
import type { DiskEncryptionSet } from './set/state.ts';

/**
 * What sets do about facts of key-vault and identity.
 *
 * A fact that leaves no doubt takes access at once, in one commit for all sets it concerns. One that may give or take is
 * stored as a question, and the vault is asked outside of the consumer: an outage of the ones who answer must not hold
 * up the next loss.
 */
export const reactions = (parts: {
  readonly clock: Clock;
  readonly sets: Category<DiskEncryptionSet, SetEvent>;
  /** Asks about a set's open questions soon. */
  readonly attend: (set: string, cause: Cause) => void;
}): { readonly keyVault: Handlers; readonly identity: Handlers } => {
  const { clock, sets, attend } = parts;

  /**
   * @param changed told of each set that has changed
   * @throws Rejection CONTENTION, once the others are dealt with, when somebody keeps changing a set: the fact is heard again
   * then, and decides nothing any more about those
   */
  const decideAbout = async (
    concerned: readonly (string | Loaded<DiskEncryptionSet>)[],
    decide: (set: DiskEncryptionSet) => readonly SetEvent[],
    cause: Cause,
    changed: (set: string) => void = () => {},
  ): Promise<void> => {
    const outcome = await sets.transactMany(concerned, decide, cause, { onContention: 'reject' });
    for (const { id } of outcome.changed) changed(id);
    for (const { rejection } of outcome.rejected) if (rejection.reason === 'CONTENTION') throw rejection;
  };

  const decideAll = async (
    reach: Reach,
    decide: (keyVersion: string) => (set: DiskEncryptionSet) => readonly SetEvent[],
    cause: Cause,
    changed?: (set: string) => void,
  ): Promise<void> => {
    const concerned = await sets.listAll({ index: reach.index });
    const decideOne = (set: DiskEncryptionSet): readonly SetEvent[] =>
      set.status === 'absent' ? [] : reachedVersions(reach, set).flatMap((version) => decide(version)(set));
    await decideAbout(concerned, decideOne, cause, changed);
  };

  const lose = async (
    fact: Fact,
    { cause }: FactContext,
    reach: Reach,
    loss: { readonly reason: LossReason; readonly epoch: number; readonly since?: Date | undefined },
  ): Promise<typeof NO_EFFECT> => {
    const { reason, epoch } = loss;
    const at = clock.now();
    const since = (loss.since ?? fact.eventTime)?.getTime() ?? at;
    const traceId = traceIdOf(fact.traceparent) ?? '';
    trace.getActiveSpan()?.setAttribute(DomainAttribute.reason, reason);
    await decideAll(reach, (keyVersion) => loseKey(at, { keyVersion, reason, epoch, since, traceId }), cause);
    return NO_EFFECT;
  };

  const question = async (fact: Fact, { cause }: FactContext, reach: Reach): Promise<typeof NO_EFFECT> => {
    const since = fact.eventTime?.getTime() ?? clock.now();
    const asked = { epoch: fact.position, since, traceId: traceIdOf(fact.traceparent) ?? '' };
    await decideAll(
      reach,
      (keyVersion) => questionKey(keyVersion, asked),
      cause,
      (set) => attend(set, cause),
    );
    return NO_EFFECT;
  };

  /** The versions of a key changed: sets that follow it look for the newest. */
  const notice = async (fact: Fact, { cause }: FactContext, key: string): Promise<typeof NO_EFFECT> => {
    const { index } = ofKey(key);
    const followers = (await sets.listAll({ index })).flatMap(({ id, state }) =>
      state.status === 'active' && state.options.autoKeyRotation ? [id] : [],
    );
    await decideAbout(followers, noticeNewer(fact.position), cause, (set) => attend(set, cause));
    return NO_EFFECT;
  };

  const onKeyVault: Handler = async (fact, context) => {
    const { event } = KeyVaultEvent.decode(fact.payload);
    // The access epoch of a loss is its position (decision 0008), which the consumer has held against the feed of the vault.
    const epoch = fact.position;
    switch (event?.$case) {
      case 'keyVersionDisabled': {
        const { keyVersion } = event.value;
        return lose(fact, context, ofVersion(keyVersion), { reason: 'KEY_DISABLED', epoch });
      }
      case 'keyExpired': {
        const { keyVersion, expireTime: since } = event.value;
        return lose(fact, context, ofVersion(keyVersion), { reason: 'KEY_EXPIRED', epoch, since });
      }
      case 'keyDeleted':
        return lose(fact, context, ofKey(event.value.key), { reason: 'KEY_DELETED', epoch });
      case 'keyPurged':
        return lose(fact, context, ofKey(event.value.key), { reason: 'KEY_PURGED', epoch });
      case 'vaultDeleted':
        return lose(fact, context, ofVault(event.value.vault), {
          reason: 'VAULT_DELETED',
          epoch,
        });
      case 'vaultPurged':
        return lose(fact, context, ofVault(event.value.vault), {
          reason: 'KEY_PURGED',
          epoch,
        });
      case 'keyVersionDatesSet': {
        const { key, keyVersion, reason } = event.value;
        await notice(fact, context, key);
        return reason === 'KEY_EXPIRED' || reason === 'KEY_NOT_YET_VALID'
          ? lose(fact, context, ofVersion(keyVersion), { reason, epoch })
          : question(fact, context, ofVersion(keyVersion));
      }
      case 'keyOperationsSet': {
        const { key, keyVersion, reason } = event.value;
        await notice(fact, context, key);
        return reason === 'ACCESS_DENIED'
          ? lose(fact, context, ofVersion(keyVersion), { reason, epoch })
          : question(fact, context, ofVersion(keyVersion));
      }
      case 'keyVersionCreated':
        return notice(fact, context, event.value.key);
      case 'keyVersionEnabled':
        await notice(fact, context, event.value.key);
        return question(fact, context, ofVersion(event.value.keyVersion));
      case 'keyRecovered':
        return question(fact, context, ofKey(event.value.key));
      case 'vaultRecovered':
      case 'permissionModelSet':
        return question(fact, context, ofVault(event.value.vault));
      case 'accessPolicySet':
      case 'accessPolicyRemoved':
        return question(fact, context, ofPrincipal(event.value.principal, event.value.vault));
      case 'grantsChanged':
        return question(fact, context, ofPrincipal(event.value.principal, event.value.key || event.value.vault));
      default:
        return NO_EFFECT;
    }
  };

  const onPrincipalDeleted: Handler = async (fact, context) => {
    const { event } = IdentityEvent.decode(fact.payload);
    if (event?.$case !== 'principalDeleted') return NO_EFFECT;
    const { principal, deleteTime: since } = event.value;
    return lose(fact, context, ofPrincipal(principal, ''), { reason: 'IDENTITY_DELETED', epoch: FINAL_EPOCH, since });
  };

  return {
    keyVault: Object.fromEntries(keyVaultFacts.map((type) => [type, onKeyVault])),
    identity: { PrincipalDeleted: onPrincipalDeleted },
  };
};

/** The facts of key-vault that can change an access, or which version is the newest. */
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
  'GrantsChanged',
  'VaultDeleted',
  'VaultRecovered',
  'VaultPurged',
] as const;
