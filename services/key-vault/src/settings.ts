import { bool, int, optional, text } from '@interlock/runtime';

const rate = (description: string) => int(`${description}; 0: no limit`, { min: 0, default: 0 });
const burst = int('Requests at once after a quiet time; 0: as many as in ten seconds (KV-100)', { min: 0, default: 0 });

/** The settings of this service beside those of every service. */
export const keyVaultSpec = {
  masterKeyFile: text(
    'File of 32 bytes the seal keys are sealed under; made at the first start, where nothing is sealed yet',
  ),
  previousMasterKeyFiles: optional(
    text(
      'Earlier master key files, separated by commas: while seal keys move over, and as long as a backup of a key made under one is to be restored',
    ),
  ),
  dataFolder: text(
    'Folder of the seal keys and of the mark of how far the store has come; must not be in the backups of the database',
  ),
  vaultUriSuffix: text(
    'Host name of vault URLs after the name of the vault: https://<vault>.<suffix>/keys/<key>/<version>',
    {
      default: 'vault.interlock.localhost',
    },
  ),
  rsaWorkers: optional(int('Threads for RSA; by default as many as there are processors', { min: 1, max: 64 })),
  legacyPadding: bool('Whether RSA1_5 may be used', { default: false }),
  purgeProtectionDefault: bool('Whether new vaults are purge protected unasked', { default: false }),
  rateLimitPrincipalPerSecond: rate(
    'Requests a second of one principal at one replica, of each kind (lease renewals, uses, the rest) apart',
  ),
  rateLimitPrincipalBurst: burst,
  rateLimitVaultPerSecond: rate(
    'Uses a second of the keys of one vault at one replica; the public cloud allows 200 to 400',
  ),
  rateLimitVaultBurst: burst,
  hold: optional(
    text('Name of a hold: no key is used until it is confirmed (interlock hold confirm), once for each name'),
  ),
  auditRetentionDays: int(
    'Days for which entries of the record of vaults are kept, then removed by one replica in small commits; 0: for ever',
    {
      min: 0,
      max: 36_500,
      default: 0,
    },
  ),
  retentionDayMs: int('Length of a day of soft-delete retention; shorter in tests', { min: 1, default: 86_400_000 }),
} as const;
