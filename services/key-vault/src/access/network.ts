import { Rejection } from '@interlock/event-store';
import type { Principal } from '@interlock/rpc';
import { addressOf, servesAddress, servesTrusted } from '../vault/network-rules.ts';
import type { ExistingVault } from '../vault/vault.ts';

/** What the network rules of a vault refuse, as `network` of the metadata of ACCESS_DENIED. */
export type NetworkRefusal = 'firewall' | 'connection' | 'service';

/**
 * Checks the network rules of a vault. Disks of sets come with the identity of their set, and so are trusted services (CMK-29).
 * @param peer address of the caller
 * @throws Rejection PERMISSION_DENIED ACCESS_DENIED (KV-84, KV-85, KV-86)
 */
export const checkNetwork = (
  vaultId: string,
  { networkRules: rules }: Pick<ExistingVault, 'networkRules'>,
  { kind, name, workload }: Principal,
  peer: string,
): void => {
  if (rules === undefined) return;
  const isTrusted = kind === 'managed_identity' || workload === 'disk-encryption-set';
  const address = addressOf(peer);
  if (isTrusted ? servesTrusted(rules) : servesAddress(rules, address)) return;
  const refused = (network: NetworkRefusal, message: string): Rejection =>
    new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', message, {
      principal: name,
      vault: `vaults/${vaultId}`,
      network,
      ...(address === undefined ? {} : { address }),
    });
  if (kind === 'workload' && !isTrusted) {
    throw refused('service', `Access denied to first party service ${workload ?? name}: it is not a trusted service`);
  }
  if (rules.publicAccessDisabled) {
    throw refused(
      'connection',
      `Public network access is disabled and request is not from a trusted service nor via an approved private link. Vault: vaults/${vaultId}`,
    );
  }
  throw refused(
    'firewall',
    isTrusted
      ? `Trusted services are not served by the network rules of vaults/${vaultId}`
      : `Client address (${address ?? peer}) is not authorized and caller is not a trusted service. Vault: vaults/${vaultId}`,
  );
};
