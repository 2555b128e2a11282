import { type Category, type EventStore, Rejection } from '@interlock/event-store';
import type { Settled } from '@interlock/rpc';
import { type Clock, DomainAttribute, type Instant } from '@interlock/runtime';
import { type Attributes, trace } from '@opentelemetry/api';
import { type Guard, isOfEarlierLook } from '../access/guard.ts';
import type { RateLimit } from '../access/rate-limit.ts';
import type { AuditDraft, AuditSubjects } from '../audit/draft.ts';
import type { AuditedCall, AuditedItem } from '../audit/log.ts';
import type { Holding } from '../hold/holding.ts';
import { keyNotFound } from '../key/decider.ts';
import type { KeyEvent, KeyOperation } from '../key/events.ts';
import { type Key, type KeyVersion, purgedVersionsOf } from '../key/key.ts';
import { dateObstacle, isBoundByDates, type Obstacle, withheldOf } from '../key/usability.ts';
import type { KeyUses } from '../key/uses.ts';
import { existingVersion } from '../key/wire.ts';
import { parseKeyOrVersion, type VersionId, versionName } from '../names.ts';
import type { RsaEngine, RsaKey } from '../rsa/rsa.ts';
import type { KeyMaterial } from '../sealing/key-material.ts';
import { vaultDeleted } from '../vault/decider.ts';
import type { VaultEvent } from '../vault/events.ts';
import { type ExistingVault, exists, type Vault } from '../vault/vault.ts';
import { explained } from './explained.ts';
import { type Judging, recordJudgement } from './judging.ts';
import type { ReadKeyStates } from './key-states.ts';
import type { Seen } from './origin.ts';

/** What every use of a key needs. */
export interface CryptographyParts {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly vaults: Category<Vault, VaultEvent>;
  readonly keys: Category<Key, KeyEvent>;
  readonly look: ReadKeyStates;
  readonly judging: Judging;
  readonly holding: Pick<Holding, 'check'>;
  readonly guard: Guard;
  readonly engine: RsaEngine;
  readonly material: KeyMaterial;
  readonly uses: KeyUses;
  readonly limits: RateLimit;
}

/** A vault and a key as they are now, and the epoch a response about them carries. */
export interface ObservedKey {
  /**
   * Head of the event feed, read before the states were: everything up to it is in what was seen, so a loss with a higher
   * number may not be.
   */
  readonly epoch: number;
  /** Versions of the two streams as they were read: what came later had no part in the decision. */
  readonly seen: Seen;
  readonly vault: ExistingVault;
  readonly key: Key;
}

/** A response about one version. */
export interface Used<Value> {
  readonly keyVersion: string;
  readonly accessEpoch: number;
  readonly value: Value;
}

/** How often the vault decides about one use if the key changes between its read and the use. */
const looksMax = 3;

/**
 * Reads a vault and a key, for a use of the key.
 * @throws Rejection UNAVAILABLE KEY_VAULT_ON_HOLD; `Guard.missing` for a vault that does not exist; KEY_PURGED, with `codeOfPurged`, when the version was purged with its vault
 */
export const lookAt = async (
  parts: CryptographyParts,
  { vault: vaultId, key: keyName, version }: VersionId,
  call: AuditedCall,
  entry: AuditSubjects,
  codeOfPurged: 'NOT_FOUND' | 'FAILED_PRECONDITION',
): Promise<ObservedKey> => {
  const look = await parts.look(vaultId, keyName);
  const { epoch } = look;
  const { state: vault, version: vaultVersion } = look.vault;
  const { state: key, version: keyVersion } = look.key;
  const seen = { vaultVersion, keyVersion };
  if (!exists(vault)) {
    const isKnown = vault.status === 'purged' && version !== undefined && purgedVersionsOf(key).includes(version);
    if (isKnown) {
      // The audit log of a vault outlives it, and has the later requests for its purged versions (G9).
      entry.inVault(vaultId);
      entry.about(keyName, version);
    }
    // On hold the store may be a restored one: what it lacks is not necessarily purged.
    parts.holding.check();
    if (!isKnown) throw await parts.guard.missing(vaultId, call);
    return explained(parts, { vault: vaultId, key: keyName, version }, call, { epoch, seen, key }, async () => {
      throw versionPurged(versionName(keyName, version), codeOfPurged);
    });
  }
  entry.inVault(vaultId, vault.createdAt);
  entry.about(keyName);
  parts.holding.check();
  return { epoch, seen, vault, key };
};

/** A way of using keys: the request, its judgement, and the operation. */
export interface KeyUse<Request, Judgement, Answer> {
  /** What the use is for, as the caller says. */
  resource(request: Request): string;
  /** Text of everything that the judgement depends on, except the principal. */
  question(request: Request): string;
  judge(request: Request, call: AuditedCall, subjects: AuditSubjects): Promise<Judgement>;
  /** Attributes of its span. */
  attributes(judgement: Judgement): Attributes;
  perform(judgement: Judgement, request: Request, entry: AuditDraft): Promise<Answer>;
}

/**
 * Uses keys for one request.
 * @throws Rejection of the judgement and of `perform`
 */
export const useKey = async <Request, Judgement, Answer>(
  { judging }: Pick<CryptographyParts, 'judging'>,
  use: KeyUse<Request, Judgement, Answer>,
  { request, call, entry }: AuditedItem<Request>,
): Promise<Answer> => {
  entry.forResource(use.resource(request));
  const question = use.question(request);
  return deciding(async () => {
    const judgement = recordJudgement(
      await judging(question, call, (subjects) => use.judge(request, call, subjects)),
      entry,
    );
    trace.getActiveSpan()?.setAttributes(use.attributes(judgement));
    return use.perform(judgement, request, entry);
  });
};

/** Uses keys for requests that are answered together, each like a call of its own. Equal questions are judged once. */
export const useKeyTogether = async <Request, Judgement, Answer>(
  { judging }: Pick<CryptographyParts, 'judging'>,
  use: KeyUse<Request, Judgement, Answer>,
  items: readonly AuditedItem<Request>[],
): Promise<readonly Settled<Answer>[]> => {
  const settled = new Map<AuditedItem<Request>, Settled<Answer>>();
  const settleAlike = async (question: string, alike: readonly AuditedItem<Request>[]): Promise<void> => {
    const [first] = alike;
    if (!first) return;
    const judged = await judging(question, first.call, (subjects) => use.judge(first.request, first.call, subjects));
    for (const { entry } of alike) entry.concerns(judged.subjects);
    if ('error' in judged) {
      const { error } = judged;
      for (const item of alike) settled.set(item, { error });
      return;
    }
    const { judgement } = judged;
    trace.getActiveSpan()?.setAttributes(use.attributes(judgement));
    const ends = await Promise.allSettled(alike.map(({ request, entry }) => use.perform(judgement, request, entry)));
    for (const [place, item] of alike.entries()) {
      const end = ends[place];
      if (end) settled.set(item, end.status === 'fulfilled' ? { answer: end.value } : { error: end.reason });
    }
  };

  for (const { request, entry } of items) entry.forResource(use.resource(request));
  let left = items;
  for (let look = 1; left.length > 0 && look <= looksMax; look += 1) {
    const asked = Map.groupBy(left, ({ request }) => use.question(request));
    await Promise.all([...asked].map(([question, alike]) => settleAlike(question, alike)));
    left = left.filter((item) => isUnsettled(settled.get(item)));
  }
  return items.map((item) => settled.get(item) ?? { error: new Error('a use of a key was not judged') });
};

const isUnsettled = (settled: Settled<unknown> | undefined): boolean =>
  settled !== undefined && 'error' in settled && isToBeJudgedAgain(settled.error);
/** Whether the private key was evicted after the judgement, or the vault changed since it was read. */
const isToBeJudgedAgain = (error: unknown): boolean =>
  (error instanceof Rejection && error.reason === 'KEY_EVICTED') || isOfEarlierLook(error);

/** A request to use a version. */
export interface VersionRequest {
  /** Key or version. */
  readonly name: string;
  readonly resource: string;
}

/** A version that was judged. */
interface Usable {
  readonly id: VersionId;
  readonly vault: ExistingVault;
  readonly epoch: number;
  readonly version: KeyVersion;
  readonly keyVersion: string;
}

/**
 * The use of a version for one operation, after all checks in the order of the specification: permission, existence, state,
 * operation of the key; the parameters are the engine's (KV-11…KV-14, KV-82…KV-90).
 * Its refusals besides those of `Guard` and of the engine: NOT_FOUND KEY_NOT_FOUND, KEY_VERSION_NOT_FOUND, KEY_DELETED,
 * KEY_PURGED; FAILED_PRECONDITION VAULT_DELETED, KEY_DISABLED, KEY_NOT_YET_VALID, KEY_EXPIRED, KEY_OPERATION_NOT_ALLOWED
 */
export const versionUse = <Request extends VersionRequest, Value>(
  parts: CryptographyParts,
  operation: KeyOperation,
  work: (engine: RsaEngine, key: RsaKey, request: Request) => Promise<Value>,
): KeyUse<Request, Usable, Used<Value>> => ({
  resource: ({ resource }) => resource,
  question: ({ name }) => `${operation} ${name}`,
  judge: ({ name }, call, subjects) => judgeUse(parts, name, operation, call, subjects),
  attributes: ({ keyVersion }) => ({ [DomainAttribute.keyVersion]: keyVersion }),
  async perform({ id, vault, epoch, version, keyVersion }, request, entry) {
    parts.limits.admitToVault(id.vault);
    const value = await work(parts.engine, parts.material.rsaKey(version, vault), request);
    if (operation === 'wrapKey') entry.alongside(parts.uses.wrappedBy(keyVersion, parts.clock.now()));
    return { keyVersion, accessEpoch: epoch, value };
  },
});

/** Which version may be used. @throws as `versionUse` says */
const judgeUse = async (
  parts: CryptographyParts,
  name: string,
  operation: KeyOperation,
  call: AuditedCall,
  subjects: AuditSubjects,
): Promise<Usable> => {
  const id = parseKeyOrVersion(name, 'name');
  const observed = await lookAt(parts, id, call, subjects, 'NOT_FOUND');
  const { epoch, vault, key } = observed;
  if (id.version !== undefined) subjects.about(id.key, id.version);
  const version = await explained(parts, id, call, observed, async () => {
    await parts.guard.permit(id.vault, vault, id.key, [operation], call);
    if (vault.status !== 'active') throw vaultDeleted(id.vault);
    const present = presentVersion(id, key);
    subjects.about(id.key, present.version);
    const presentName = versionName(id.key, present.version);
    checkUsable(presentName, present, operation, parts.clock.now());
    checkOperation(presentName, present, operation);
    return present;
  });
  return { id, vault, epoch, version, keyVersion: versionName(id.key, version.version) };
};

/** Runs a decision and its operation, and repeats both if the key changed in between. @param isOutdated whether an error means that */
export const deciding = async <Value>(
  decide: () => Promise<Value>,
  isOutdated: (error: unknown) => boolean = isToBeJudgedAgain,
): Promise<Value> => {
  for (let look = 1; ; look += 1) {
    try {
      return await decide();
    } catch (error) {
      if (!isOutdated(error) || look >= looksMax) throw error;
    }
  }
};

const presentVersion = ({ key: name, version }: VersionId, key: Key): KeyVersion => {
  if (version !== undefined && purgedVersionsOf(key).includes(version)) {
    throw versionPurged(versionName(name, version), 'NOT_FOUND');
  }
  if (key.status === 'purged') throw keyNotFound(name);
  return existingVersion({ id: name, state: key }, version);
};

const checkUsable = (keyVersion: string, version: KeyVersion, operation: KeyOperation, now: Instant): void => {
  if (!version.enabled) throw refusal(keyVersion, { reason: 'KEY_DISABLED' }, operation);
  const outside = isBoundByDates(operation) ? dateObstacle(version, now) : undefined;
  if (outside) throw refusal(keyVersion, outside, operation);
};

/** KV-88 @throws Rejection FAILED_PRECONDITION KEY_OPERATION_NOT_ALLOWED */
const checkOperation = (keyVersion: string, version: KeyVersion, operation: KeyOperation): void => {
  if (version.operations.includes(operation)) return;
  throw new Rejection(
    'FAILED_PRECONDITION',
    'KEY_OPERATION_NOT_ALLOWED',
    `Operation ${operation} is not permitted on this key.`,
    { key_version: keyVersion, operation },
  );
};

/**
 * Checks that a version allows the operations that disks need. For a set, a missing operation is an access loss that the owner
 * of the key caused, like a missing permission: the metadata has `operation` and no `permission`.
 * @throws Rejection PERMISSION_DENIED ACCESS_DENIED
 */
export const checkGranted = (keyVersion: string, version: KeyVersion, wanted: readonly KeyOperation[]): void => {
  const operation = withheldOf(version, wanted).join(',');
  if (operation === '') return;
  throw new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', `Operation ${operation} is not permitted on this key.`, {
    key_version: keyVersion,
    operation,
  });
};

/** The message of each reason (KV-87, KV-89); `%` is replaced by the operation. */
const texts: Readonly<Record<string, string>> = {
  KEY_DISABLED: 'Operation % is not allowed on a disabled key.',
  KEY_NOT_YET_VALID: 'Operation % is not allowed on a key that is not yet valid.',
  KEY_EXPIRED: 'Operation % is not allowed on an expired key.',
  KEY_DELETED: 'Operation % is not allowed on a deleted key; it can be recovered.',
  KEY_PURGED: 'Operation % is not possible: the key is purged for good.',
  KEY_VERSION_NOT_FOUND: 'Operation % is not possible: the vault knows no such key version.',
  VAULT_DELETED: 'Operation % is not allowed: the vault of the key is deleted; it can be recovered.',
};

/** The refusal for an obstacle; `explained` adds since when it holds, as of when, and what caused it. */
export const refusal = (keyVersion: string, { reason }: Obstacle, operation: string): Rejection =>
  new Rejection('FAILED_PRECONDITION', reason, (texts[reason] ?? reason).replace('%', operation), {
    key_version: keyVersion,
    operation,
  });

const versionPurged = (keyVersion: string, code: 'NOT_FOUND' | 'FAILED_PRECONDITION'): Rejection =>
  new Rejection(code, 'KEY_PURGED', `${keyVersion} was purged: it is gone for good`, { key_version: keyVersion });
