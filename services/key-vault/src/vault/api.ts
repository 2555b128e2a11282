import type {
  CreateVaultRequest,
  DeleteVaultRequest,
  EnablePurgeProtectionRequest,
  GetVaultRequest,
  ListVaultsRequest,
  PurgeVaultRequest,
  RecoverVaultRequest,
  RemoveAccessPolicyRequest,
  SetAccessPolicyRequest,
  SetNetworkRulesRequest,
  SetPermissionModelRequest,
} from '@interlock/contracts/interlock/key_vault/v1/vault.ts';
import { type Category, Rejection } from '@interlock/event-store';
import type { Subscriptions } from '@interlock/host';
import {
  type Authorizer,
  type Call,
  checkId,
  expectedVersion,
  names,
  pageOf,
  pageToken,
  principalOf,
  requirePermission,
} from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import { type Guard, scopeOf, type VaultAction } from '../access/guard.ts';
import type { AuditDraft } from '../audit/draft.ts';
import type { AuditLog } from '../audit/log.ts';
import type { Confirmation } from '../key/confirmation.ts';
import { type KeyUrls, parseVault } from '../names.ts';
import {
  create,
  enablePurgeProtection,
  recover,
  remove,
  removeAccessPolicy,
  setAccessPolicy,
  setNetworkRules,
  setPermissionModel,
  startPurge,
  takenByOwn,
  vaultNotFound,
} from './decider.ts';
import type { NewVault, VaultEvent } from './events.ts';
import type { VaultLife } from './life.ts';
import { networkRulesFromWire, servesTrusted } from './network-rules.ts';
import type { VaultPurge } from './purge.ts';
import { exists, type Vault } from './vault.ts';
import { accessPoliciesFromWire, accessPolicyFromWire, permissionModelFromWire, vaultOnWire } from './wire.ts';

/** Days for which a deleted vault or key can be recovered when the request does not say (KV-61). */
const retentionDaysDefault = 90;
const pageSizeDefault = 100;

/** What the handlers of vaults need. */
export interface VaultApiParts {
  readonly clock: Clock;
  readonly vaults: Category<Vault, VaultEvent>;
  readonly guard: Guard;
  readonly authorize: Authorizer;
  readonly log: AuditLog;
  readonly urls: KeyUrls;
  readonly subscriptions: Pick<Subscriptions, 'requireOwn'>;
  readonly purgeVault: VaultPurge;
  readonly life: VaultLife;
  readonly confirm: Confirmation;
  readonly purgeProtectionDefault: boolean;
  readonly retentionDayMs: number;
}

/** Vaults and their grants: request in, resource out. */
export const vaultApi = (parts: VaultApiParts) => ({
  ...vaultReadApi(parts),
  ...vaultGrantApi(parts),
  ...vaultLifeApi(parts),
});

const vaultReadApi = ({ vaults, guard, log, urls }: VaultApiParts) => ({
  getVault: log.audited('VaultGet', async ({ name }: GetVaultRequest, call: Call, entry) => {
    const vaultId = parseVault(name, 'name');
    await guard.managedVault(vaultId, 'keyVault/vaults/read', call, entry);
    return vaultOnWire(await vaults.load(vaultId), urls);
  }),
  async listVaults(request: ListVaultsRequest) {
    const parentNames = request.parent.includes('/resourceGroups/') ? names.resourceGroup : names.subscription;
    parentNames.parse(request.parent, 'parent');
    const page = pageOf({ ...request, pageSize: request.pageSize || pageSizeDefault });
    const index = { index: request.showDeleted ? 'in_or_deleted' : 'in', value: request.parent };
    const { items, next } = await vaults.list({ ...page, index });
    return { vaults: items.map((loaded) => vaultOnWire(loaded, urls)), nextPageToken: pageToken(next) };
  },
});

const vaultGrantApi = (parts: VaultApiParts) => {
  const { clock, guard, authorize, log, confirm } = parts;
  return {
    setAccessPolicy: log.audited('VaultPatch', async (request: SetAccessPolicyRequest, call: Call, entry) => {
      const { principal, permissions } = accessPolicyFromWire(request.accessPolicy);
      const decide = setAccessPolicy(clock.now(), principal, permissions);
      const text = `access policy of ${principal}: ${permissions.join(', ')}`;
      return changeVault(parts, request, { action: 'keyVault/vaults/write', decide, text }, call, entry);
    }),
    removeAccessPolicy: log.audited('VaultPatch', async (request: RemoveAccessPolicyRequest, call: Call, entry) => {
      names.principal.parse(request.principal, 'principal');
      const decide = removeAccessPolicy(clock.now(), request.principal);
      const text = `access policy of ${request.principal}: none`;
      return changeVault(parts, request, { action: 'keyVault/vaults/write', decide, text }, call, entry);
    }),
    setPermissionModel: log.audited('VaultPatch', async (request: SetPermissionModelRequest, call: Call, entry) => {
      const permissionModel = permissionModelFromWire(request.permissionModel);
      const text = `permission model: ${permissionModel}`;
      entry.changing(text);
      const vaultId = parseVault(request.name, 'name');
      const vault = await guard.managedVault(vaultId, 'keyVault/vaults/write', call, entry);
      // Otherwise a caller who may edit access policies could leave the role model and grant itself every key (KV-74).
      const isUnderRoles = vault.permissionModel === 'role_assignment';
      if (isUnderRoles) {
        const scope = scopeOf(vault, vaultId);
        await requirePermission(authorize, principalOf(call), 'identity/roleAssignments/write', scope);
      }
      const decide = setPermissionModel(clock.now(), permissionModel, isUnderRoles);
      if (decide(vault).length > 0) await confirm.vault(vaultId, request.confirmName, 'revoke');
      return changeVault(parts, request, { action: 'keyVault/vaults/write', decide, text }, call, entry);
    }),
    setNetworkRules: log.audited('VaultPatch', async (request: SetNetworkRulesRequest, call: Call, entry) => {
      const rules = networkRulesFromWire(request.networkRules);
      const text = `network rules: ${JSON.stringify(rules)}`;
      entry.changing(text);
      const vaultId = parseVault(request.name, 'name');
      const vault = await guard.managedVault(vaultId, 'keyVault/vaults/write', call, entry);
      const isClosed = servesTrusted(vault.networkRules) && !servesTrusted(rules);
      if (isClosed) await confirm.vault(vaultId, request.confirmName, 'close');
      const decide = setNetworkRules(clock.now(), rules);
      return changeVault(parts, request, { action: 'keyVault/vaults/write', decide, text }, call, entry);
    }),
  };
};

const vaultLifeApi = (parts: VaultApiParts) => {
  const { clock, vaults, guard, log, confirm, life, purgeVault, retentionDayMs } = parts;
  return {
    createVault: log.audited('VaultPut', (request: CreateVaultRequest, call: Call, entry) =>
      createVault(parts, request, call, entry),
    ),
    enablePurgeProtection: log.audited(
      'VaultPatch',
      async (request: EnablePurgeProtectionRequest, call: Call, entry) => {
        const decide = enablePurgeProtection(clock.now());
        const change: VaultChange = { action: 'keyVault/vaults/write', decide, text: 'purge protection: on' };
        const vault = await changeVault(parts, request, change, call, entry);
        // Purges of keys in progress must decide again.
        await life.end(parseVault(request.name, 'name'));
        return vault;
      },
    ),
    deleteVault: log.audited('VaultDelete', async (request: DeleteVaultRequest, call: Call, entry) => {
      const vaultId = parseVault(request.name, 'name');
      const vault = await guard.managedVault(vaultId, 'keyVault/vaults/delete', call, entry);
      if (vault.status === 'active') await confirm.vault(vaultId, request.confirmName, 'delete');
      const decide = remove(clock.now(), retentionDayMs);
      return changeVault(parts, request, { action: 'keyVault/vaults/delete', decide }, call, entry);
    }),
    recoverVault: log.audited('VaultRecover', (request: RecoverVaultRequest, call: Call, entry) => {
      const decide = recover(clock.now());
      return changeVault(parts, request, { action: 'keyVault/vaults/write', decide }, call, entry);
    }),
    purgeVault: log.audited('VaultPurge', async (request: PurgeVaultRequest, call: Call, entry) => {
      const vaultId = parseVault(request.name, 'name');
      // The roles on a purged vault are gone, so its guard would refuse. That the vault was purged is no secret.
      if ((await vaults.load(vaultId)).state.status === 'purged') return {};
      const vault = await guard.managedVault(vaultId, 'keyVault/vaults/purge', call, entry);
      const decide = startPurge(clock.now());
      // A purge that is not allowed at all is refused before a missing confirmation is.
      if (decide(vault).length > 0) await confirm.vault(vaultId, request.confirmName, 'purge');
      await changeVault(parts, request, { action: 'keyVault/vaults/purge', decide }, call, entry);
      await purgeVault(vaultId);
      return {};
    }),
  };
};

/** A change of a vault, and how its audit entry describes it where the operation does not. */
interface VaultChange {
  readonly action: VaultAction;
  readonly decide: (vault: Vault) => readonly VaultEvent[];
  readonly text?: string;
}

const changeVault = async (
  { vaults, guard, urls }: VaultApiParts,
  request: { readonly name: string; readonly etag: string },
  { action, decide, text }: VaultChange,
  call: Call,
  entry: AuditDraft,
) => {
  if (text !== undefined) entry.changing(text);
  const vaultId = parseVault(request.name, 'name');
  const expected = expectedVersion(request.etag);
  const judged = await guard.managedVault(vaultId, action, call, entry);
  const decideJudged = (vault: Vault): readonly VaultEvent[] => {
    // After a purge, another vault with another owner may have the name.
    if (exists(vault) && vault.createdAt !== judged.createdAt) throw vaultNotFound(vaultId);
    return decide(vault);
  };
  const after = await vaults.transact(vaultId, decideJudged, call.cause, expected);
  if (text !== undefined && after.events.length === 0) entry.changing(`${text}: was so already`);
  return vaultOnWire(after, urls);
};

const createVault = async (parts: VaultApiParts, request: CreateVaultRequest, call: Call, entry: AuditDraft) => {
  const { clock, vaults, authorize, urls } = parts;
  const vaultId = checkId(request.vaultId, 'vault', 'vault_id').toLowerCase();
  names.resourceGroup.parse(request.resourceGroup, 'resource_group');
  await requirePermission(authorize, principalOf(call), 'keyVault/vaults/write', scopeOf(request, vaultId));
  const isModelGiven = request.permissionModel !== 'PERMISSION_MODEL_UNSPECIFIED';
  const wanted: NewVault = {
    resourceGroup: request.resourceGroup,
    tenant: await parts.subscriptions.requireOwn(request.resourceGroup, call),
    location: checkedLocation(request.location),
    sku: request.sku === 'PREMIUM' ? 'premium' : 'standard',
    permissionModel: isModelGiven ? permissionModelFromWire(request.permissionModel) : 'access_policy',
    accessPolicies: accessPoliciesFromWire(request.accessPolicies),
    retentionDays: request.softDeleteRetentionDays || retentionDaysDefault,
    purgeProtected: request.purgeProtectionEnabled || parts.purgeProtectionDefault,
    ...(request.networkRules === undefined ? {} : { networkRules: networkRulesFromWire(request.networkRules) }),
  };
  entry.inVault(vaultId);
  try {
    return vaultOnWire(await vaults.transact(vaultId, create(clock.now(), wanted), call.cause), urls);
  } catch (error) {
    if (!(error instanceof Rejection) || error.reason !== 'VAULT_ALREADY_EXISTS') throw error;
    const { state } = await vaults.load(vaultId);
    if (state.status !== 'active') throw error;
    const { allowed } = await authorize(principalOf(call), 'keyVault/vaults/read', scopeOf(state, vaultId));
    throw (allowed ? takenByOwn(state, wanted) : undefined) ?? error;
  }
};

/** Checks that a location looks like a region; other services compare regions without spaces and case. */
const checkedLocation = (location: string): string => {
  if (/^[A-Za-z][A-Za-z0-9 -]{1,49}$/.test(location)) return location;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'LOCATION_INVALID',
    `location must be the name of a region such as westeurope, not "${location.slice(0, 80)}"`,
    { field: 'location' },
  );
};
