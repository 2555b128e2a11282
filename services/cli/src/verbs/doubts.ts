import type { JsonObject } from '@bufbuild/protobuf';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { Rejection } from '@interlock/event-store';
import type { Caller } from '../calls.ts';
import { methodOf } from '../schema.ts';

/** What may be wrong with what was done, found out by asking another service; undefined when nothing is. */
export type Doubt = (caller: Pick<Caller, 'call'>, request: JsonObject) => Promise<string | undefined>;

/**
 * Whether the scope of a role is that of a vault that is there. Identity does not know vaults, and takes a role on one that is
 * still to be made; a name mistyped is told here.
 */
export const scopeDoubt: Doubt = async (caller, { scope }) => {
  const [, group, name] = /^(subscriptions\/[^/]+\/resourceGroups\/[^/]+)\/(vaults\/[^/]+)/i.exec(String(scope)) ?? [];
  if (group === undefined || name === undefined) return undefined;
  try {
    const vault = await caller.call('key-vault', methodOf(KeyVaultServiceDefinition, 'GetVault'), { name });
    const there = String(vault.resourceGroup);
    if (there.toLowerCase() === group.toLowerCase()) return undefined;
    return `the role has no effect: ${name} lies in ${there}, so its scope is ${there}/${name}`;
  } catch (error) {
    // Whoever may not see vaults learns nothing about them here either.
    if (!(error instanceof Rejection) || error.reason !== 'VAULT_NOT_FOUND') return undefined;
    return `there is no ${name}: the role has no effect until a vault of that name is made in ${group}`;
  }
};
