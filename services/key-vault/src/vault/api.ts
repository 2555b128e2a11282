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
  beginPurge,
  create,
  enablePurgeProtection,
  recover,
  remove,
  removeAccessPolicy,
  setAccessPolicy,
  setPermissionModel,
  takenByOwn,
  vaultNotFound,
} from './decider.ts';
import type { VaultEvent } from './events.ts';
import type { VaultLife } from './life.ts';
import type { VaultPurge } from './purge.ts';
import { isStanding, type Vault } from './vault.ts';
import { accessPoliciesFromWire, accessPolicyFromWire, permissionModelFromWire, vaultOnWire } from './wire.ts';

/** Days a deleted vault or key can be recovered when the request does not say (KV-61). */
const retentionDaysDefault = 90;
const pageSizeDefault = 100;

/** Vaults and their grants: request in, resource out. */
export const vaultApi = (parts: {
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
}) => {
  const { clock, vaults, guard, authorize, log, urls, confirm, retentionDayMs } = parts;

  /** A change of a vault the caller may manage: load, judge, decide, answer. @param what for the record, where the operation does not say it */
  const change = async (
    request: { readonly name: string; readonly etag: string },
    action: VaultAction,
    decide: (vault: Vault) => readonly VaultEvent[],
    call: Call,
    entry: AuditDraft,
    what?: string,
  ) => {
    if (what !== undefined) entry.changing(what);
    const vaultId = parseVault(request.name, 'name');
    const expected = expectedVersion(request.etag);
    const judged = await guard.managedVault(vaultId, action, call, entry);
    const decideJudged = (vault: Vault): readonly VaultEvent[] => {
      // The next vault of the name may be another's, and lie elsewhere.
      if (isStanding(vault) && vault.createdAt !== judged.createdAt) throw vaultNotFound(vaultId);
      return decide(vault);
    };
    const after = await vaults.transact(vaultId, decideJudged, call.cause, expected);
    if (what !== undefined && after.events.length === 0) entry.changing(`${what}: was so already`);
    return vaultOnWire(after, urls);
  };

  return {
    createVault: log.audited('VaultPut', async (request: CreateVaultRequest, call: Call, entry) => {
      const vaultId = checkId(request.vaultId, 'vault', 'vault_id').toLowerCase();
      names.resourceGroup.parse(request.resourceGroup, 'resource_group');
      await requirePermission(authorize, principalOf(call), 'keyVault/vaults/write', scopeOf(request, vaultId));
      const wish = {
        resourceGroup: request.resourceGroup,
        tenant: await parts.subscriptions.requireOwn(request.resourceGroup, call),
        location: checkedLocation(request.location),
        sku: request.sku === 'PREMIUM' ? 'premium' : 'standard',
        permissionModel:
          request.permissionModel === 'PERMISSION_MODEL_UNSPECIFIED'
            ? 'access_policy'
            : permissionModelFromWire(request.permissionModel),
        accessPolicies: accessPoliciesFromWire(request.accessPolicies),
        retentionDays: request.softDeleteRetentionDays || retentionDaysDefault,
        purgeProtected: request.purgeProtectionEnabled || parts.purgeProtectionDefault,
      } as const;
      entry.inVault(vaultId);
      try {
        return vaultOnWire(await vaults.transact(vaultId, create(clock.now(), wish), call.cause), urls);
      } catch (error) {
        if (!(error instanceof Rejection) || error.reason !== 'VAULT_ALREADY_EXISTS') throw error;
        const { state } = await vaults.load(vaultId);
        if (state.status !== 'active') throw error;
        const { allowed } = await authorize(principalOf(call), 'keyVault/vaults/read', scopeOf(state, vaultId));
        throw (allowed ? takenByOwn(state, wish) : undefined) ?? error;
      }
    }),
    getVault: log.audited('VaultGet', async ({ name }: GetVaultRequest, call: Call, entry) => {
      const vaultId = parseVault(name, 'name');
      await guard.managedVault(vaultId, 'keyVault/vaults/read', call, entry);
      return vaultOnWire(await vaults.load(vaultId), urls);
    }),
    async listVaults(request: ListVaultsRequest) {
      (request.parent.includes('/resourceGroups/') ? names.resourceGroup : names.subscription).parse(
        request.parent,
        'parent',
      );
      const page = pageOf({ ...request, pageSize: request.pageSize || pageSizeDefault });
      const index = { index: request.showDeleted ? 'in_or_deleted' : 'in', value: request.parent };
      const { items, next } = await vaults.list({ ...page, index });
      return { vaults: items.map((loaded) => vaultOnWire(loaded, urls)), nextPageToken: pageToken(next) };
    },
    enablePurgeProtection: log.audited(
      'VaultPatch',
      async (request: EnablePurgeProtectionRequest, call: Call, entry) => {
        const decide = enablePurgeProtection(clock.now());
        const vault = await change(request, 'keyVault/vaults/write', decide, call, entry, 'purge protection: on');
        // Whoever is about to purge a key has to look again.
        await parts.life.end(parseVault(request.name, 'name'));
        return vault;
      },
    ),
    setAccessPolicy: log.audited('VaultPatch', async (request: SetAccessPolicyRequest, call: Call, entry) => {
      const { principal, permissions } = accessPolicyFromWire(request.accessPolicy);
      const decide = setAccessPolicy(clock.now(), principal, permissions);
      const what = `access policy of ${principal}: ${permissions.join(', ')}`;
      return change(request, 'keyVault/vaults/write', decide, call, entry, what);
    }),
    removeAccessPolicy: log.audited('VaultPatch', async (request: RemoveAccessPolicyRequest, call: Call, entry) => {
      names.principal.parse(request.principal, 'principal');
      const decide = removeAccessPolicy(clock.now(), request.principal);
      const what = `access policy of ${request.principal}: none`;
      return change(request, 'keyVault/vaults/write', decide, call, entry, what);
    }),
    setPermissionModel: log.audited('VaultPatch', async (request: SetPermissionModelRequest, call: Call, entry) => {
      const permissionModel = permissionModelFromWire(request.permissionModel);
      entry.changing(`permission model: ${permissionModel}`);
      const vaultId = parseVault(request.name, 'name');
      const vault = await guard.managedVault(vaultId, 'keyVault/vaults/write', call, entry);
      // Otherwise whoever may edit access policies could leave the role model and grant itself every key (KV-74).
      const isUnderRoles = vault.permissionModel === 'role_assignment';
      if (isUnderRoles) {
        const scope = scopeOf(vault, vaultId);
        await requirePermission(authorize, principalOf(call), 'identity/roleAssignments/write', scope);
      }
      const decide = setPermissionModel(clock.now(), permissionModel, isUnderRoles);
      if (decide(vault).length > 0) await confirm.vault(vaultId, request.confirmName, 'revoke');
      return change(request, 'keyVault/vaults/write', decide, call, entry, `permission model: ${permissionModel}`);
    }),
    deleteVault: log.audited('VaultDelete', async (request: DeleteVaultRequest, call: Call, entry) => {
      const vaultId = parseVault(request.name, 'name');
      const vault = await guard.managedVault(vaultId, 'keyVault/vaults/delete', call, entry);
      if (vault.status === 'active') await confirm.vault(vaultId, request.confirmName, 'delete');
      return change(request, 'keyVault/vaults/delete', remove(clock.now(), retentionDayMs), call, entry);
    }),
    recoverVault: log.audited('VaultRecover', (request: RecoverVaultRequest, call: Call, entry) =>
      change(request, 'keyVault/vaults/write', recover(clock.now()), call, entry),
    ),
    purgeVault: log.audited('VaultPurge', async (request: PurgeVaultRequest, call: Call, entry) => {
      const vaultId = parseVault(request.name, 'name');
      const { state } = await vaults.load(vaultId);
      // Its roles went with it: that it is gone already is all there is to say, and no secret.
      if (state.status === 'purged') return {};
      const vault = await guard.managedVault(vaultId, 'keyVault/vaults/purge', call, entry);
      const decide = beginPurge(clock.now());
      // What stands in the way of the purge itself is told first: no name helps against that.
      if (decide(vault).length > 0) await confirm.vault(vaultId, request.confirmName, 'purge');
      await change(request, 'keyVault/vaults/purge', decide, call, entry);
      await parts.purgeVault(vaultId);
      return {};
    }),
  };
};

/** Regions are compared by others without spaces and case; here they only have to look like one. */
const checkedLocation = (location: string): string => {
  if (/^[A-Za-z][A-Za-z0-9 -]{1,49}$/.test(location)) return location;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'LOCATION_INVALID',
    `location must be the name of a region such as westeurope, not "${location.slice(0, 80)}"`,
    { field: 'location' },
  );
};
