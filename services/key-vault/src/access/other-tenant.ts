import { Rejection } from '@interlock/event-store';
import { type Authorizer, type Principal, requireActive } from '@interlock/rpc';
import { vaultNotFound } from '../vault/decider.ts';
import type { ExistingVault } from '../vault/vault.ts';

/**
 * The refusal of a caller of another tenant. It is the same whether vault, key and version exist or not (KV-82), and does not
 * explain since when and why.
 */
export class StrangerRejection extends Rejection {}

/** @param who principal or set that has no access */
export const deniedToOtherTenant = (who: string, vaultId: string): StrangerRejection =>
  new StrangerRejection(
    'PERMISSION_DENIED',
    'ACCESS_DENIED',
    `${who} has no access to vaults/${vaultId}, or the vault does not exist: check the name, or request access`,
    { principal: who, vault: `vaults/${vaultId}` },
  );

/**
 * Whether a user or app is of another tenant than the vault. Services and identities of sets never are: a set can only get a
 * key of its own tenant (CMK-24).
 */
export const isOfAnotherTenant = ({ kind, tenant }: Principal, vault: Pick<ExistingVault, 'tenant'>): boolean =>
  (kind === 'user' || kind === 'app') && `tenants/${tenant}` !== vault.tenant;

/**
 * The refusal for a vault that does not exist: the same as for a caller of another tenant. Only callers who may read all vaults
 * of the platform, services and identities of sets learn that it does not exist.
 * @throws Rejection UNAUTHENTICATED PRINCIPAL_DELETED
 */
export const missingVault = async (
  authorize: Authorizer,
  principal: Principal,
  vaultId: string,
): Promise<Rejection> => {
  const { kind, name } = principal;
  if (kind === 'workload' || kind === 'managed_identity') return vaultNotFound(vaultId);
  await requireActive(authorize, principal);
  const { allowed } = await authorize(principal, 'keyVault/vaults/read', '/');
  return allowed ? vaultNotFound(vaultId) : deniedToOtherTenant(name, vaultId);
};
