import { bool, int, optional, secret, text } from '@interlock/runtime';

const rate = (description: string) => int(`${description}; 0: no limit`, { min: 0, default: 0 });
const burst = int('Requests at once after idle time; 0: as many as in ten seconds (KV-100)', { min: 0, default: 0 });

/** The settings of this service, in addition to those of every service. */
export const keyVaultSpec = {
  masterKeyFile: text('File of 32 bytes that seals the seal keys; created at the first start'),
  previousMasterKeyFiles: optional(
    text('Earlier master key files, separated by commas: for seal keys and backups that are still sealed by them'),
  ),
  dataFolder: text("Folder of the seal keys and of the store's last position; must not be in backups of the database"),
  vaultUriSuffix: text('Suffix in URLs: https://<vault>.<suffix>/keys/<key>/<version>', {
    default: 'vault.interlock.localhost',
  }),
  clientAddressKey: optional(
    secret(
      'CLIENT_ADDRESS_KEY of the gateways: they prove with it from which address a client calls. Absent: the address of the gateway counts',
    ),
  ),
  rsaWorkers: optional(int('Threads for RSA; default: number of processors', { min: 1, max: 64 })),
  legacyPadding: bool('Allow RSA1_5', { default: false }),
  purgeProtectionDefault: bool('Purge protection of new vaults that do not set it', { default: false }),
  rateLimitPrincipalPerSecond: rate(
    'Requests a second of a principal at one replica, for lease renewals, uses and other calls each',
  ),
  rateLimitPrincipalBurst: burst,
  rateLimitVaultPerSecond: rate("Uses a second of a vault's keys at one replica"),
  rateLimitVaultBurst: burst,
  hold: optional(text('Name of a hold: no key is used until `interlock hold confirm`, once for each name')),
  auditRetentionDays: int('Days to keep audit entries; 0: for ever', {
    min: 0,
    max: 36_500,
    default: 0,
  }),
  retentionDayMs: int('Length of a day of soft-delete retention', { min: 1, default: 86_400_000 }),
} as const;
