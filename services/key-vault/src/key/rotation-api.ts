import { createHash } from 'node:crypto';
import type {
  GetRotationPolicyRequest,
  SetRotationPolicyRequest,
  RotationPolicy as WirePolicy,
} from '@interlock/contracts/interlock/key_vault/v1/key.ts';
import type { Cause, Loaded } from '@interlock/event-store';
import { type Call, expectedVersion, type Principal } from '@interlock/rpc';
import type { AuditedCall } from '../audit/log.ts';
import { parseKey } from '../names.ts';
import type { ActiveVault } from '../vault/vault.ts';
import { rotateIfDue, setRotationPolicy } from './decider.ts';
import { type ActiveKey, type Key, ROTATION, rotationDue } from './key.ts';
import { addVersion, digestOf, generate, type KeyMakingParts } from './making-api.ts';
import { checkedPolicy, noticeDefault } from './rotation-policy.ts';
import { existingVersion } from './wire.ts';

/** What the handlers of rotation policies need. */
export interface RotationParts extends KeyMakingParts {
  readonly retentionDayMs: number;
}

/** Rotation policies of keys (KV-34, KV-50 to KV-53). */
export const rotationApi = (parts: RotationParts) => {
  const { clock, keys, guard, log, retentionDayMs } = parts;
  return {
    getRotationPolicy: log.audited(
      'KeyRotationPolicyGet',
      async ({ name }: GetRotationPolicyRequest, call: Call, entry) => {
        const { vault, key } = parseKey(name, 'name');
        await guard.keyVault(vault, key, 'getrotationpolicy', call, entry);
        return policyOnWire(await keys.load(key));
      },
    ),
    setRotationPolicy: log.audited(
      'KeyRotationPolicySet',
      async (request: SetRotationPolicyRequest, call: Call, entry) => {
        const { vault, key } = parseKey(request.name, 'name');
        await guard.keyVault(vault, key, 'setrotationpolicy', call, entry);
        const policy = checkedPolicy(request, retentionDayMs);
        existingVersion(await keys.load(key), undefined);
        const decide = (state: Key) => setRotationPolicy(clock.now(), policy)(state);
        return policyOnWire(await keys.transact(key, decide, call.cause, expectedVersion(request.etag)));
      },
    ),
  };
};

/** The policy as the API shows it; a key without one has the default notice (KV-51). @throws as `existingVersion` */
const policyOnWire = ({ id, state, version: etag }: Loaded<Key>): WirePolicy => {
  existingVersion({ id, state }, undefined);
  const { rotationPolicy: policy } = state as ActiveKey;
  const due = rotationDue(state);
  return {
    name: id,
    rotateAfterCreate: policy?.rotateAfterCreate?.text ?? '',
    rotateBeforeExpiry: policy?.rotateBeforeExpiry?.text ?? '',
    notifyBeforeExpiry: policy?.notifyBeforeExpiry?.text ?? (policy?.expiryTime ? '' : noticeDefault.text),
    expiryTime: policy?.expiryTime?.text ?? '',
    updateTime: policy === undefined ? undefined : new Date(policy.setAt),
    nextRotationTime: due === undefined ? undefined : new Date(due),
    etag: String(etag),
  };
};

/** The service itself, in the records of vaults. */
const serviceIn = ({ tenant }: ActiveVault): Principal => ({
  kind: 'workload',
  id: 'key-vault',
  name: 'system:key-vault',
  tenant,
  workload: 'key-vault',
});

/**
 * Rotates a key whose time has come by its policy. Every replica may do it: the request is named after the version that it
 * replaces, so one of them makes the new version.
 * @returns false while the vault of the key is not in use
 */
export const openDueRotation = (parts: RotationParts) => {
  const { clock, keys, vaults, engine, log } = parts;
  const rotate = async (name: string, call: AuditedCall, vault: ActiveVault): Promise<void> => {
    const audited = log.audited('KeyRotateIfDue', async ({ name: key }: { name: string }, by: AuditedCall, entry) => {
      entry.inVault(parseKey(key, 'name').vault, vault.createdAt);
      entry.about(key);
      const before = await keys.load(key);
      const current = existingVersion(before, undefined);
      const asked = { requestId: requestIdAfter(current.materialId), digest: digestOf(['rotate']) };
      const version = {
        asked,
        origin: 'generated' as const,
        make: generate(engine, current.bits),
        decide: (made: Parameters<typeof rotateIfDue>[2]) => rotateIfDue(clock.now(), asked, made),
      };
      const { signal } = new AbortController();
      return addVersion(parts, vault, before, version, { cause: by.cause, signal, timer: ROTATION }, entry);
    });
    await audited({ name }, call);
  };
  return async (name: string, cause: Cause): Promise<boolean> => {
    const { vault: vaultId } = parseKey(name, 'name');
    const [{ state: vault }, { state: key }] = await Promise.all([vaults.load(vaultId), keys.load(name)]);
    if (vault.status !== 'active') return false;
    if ((rotationDue(key) ?? Number.POSITIVE_INFINITY) > clock.now()) return true;
    await rotate(name, { caller: serviceIn(vault), cause, peer: '' }, vault);
    return true;
  };
};

/** The request that replaces a version by policy: the same one in every replica. */
const requestIdAfter = (materialId: string): string => {
  const hex = createHash('sha256').update(`rotation after ${materialId}`).digest('hex');
  // Version 8, variant 1 (RFC 9562).
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
};
