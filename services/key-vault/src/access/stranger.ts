import { Rejection } from '@interlock/event-store';
import { type Authorizer, type Principal, requireActive } from '@interlock/rpc';
import { vaultNotFound } from '../vault/decider.ts';
import type { StandingVault } from '../vault/vault.ts';

/**
 * The refusal of a caller from another tenant. It is the same whether the vault, the key or the version exists or not, so it
 * says nothing about them (KV-82), and gets no explanation of since when and why.
 */
export class StrangerRejection extends Rejection {}

/** @param who principal or set that has no access */
export const deniedToStranger = (who: string, vaultId: string): StrangerRejection =>
  new StrangerRejection(
    'PERMISSION_DENIED',
    'ACCESS_DENIED',
    `${who} has no access to vaults/${vaultId}, or no such vault exists: check the name, or have access granted`,
    { principal: who, vault: `vaults/${vaultId}` },
  );

/**
 * Whether a caller is of another tenant than the vault. Services and the identities of sets are not: a set only gets a key of
 * its own tenant (CMK-24).
 */
export const isStranger = ({ kind, tenant }: Principal, vault: Pick<StandingVault, 'tenant'>): boolean =>
  (kind === 'user' || kind === 'app') && `tenants/${tenant}` !== vault.tenant;

/**
 * What a caller learns of a vault that does not exist: the same as a stranger of one that does. Callers who may read all vaults
 * of the platform, services and the identities of sets are told the truth.
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
  return allowed ? vaultNotFound(vaultId) : deniedToStranger(name, vaultId);
};
