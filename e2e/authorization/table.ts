import { computeTable } from './compute-table.ts';
import { diskEncryptionSetTable } from './disk-encryption-set-table.ts';
import { diskDataTable, diskHostTable, diskTable } from './disk-table.ts';
import { identityTable } from './identity-table.ts';
import { keyVaultTable } from './key-vault-table.ts';
import { messagingTable } from './messaging-table.ts';
import type { Row } from './row.ts';

/**
 * Who may call what: every RPC of every service. Written from the specification and the API description, not from the tables
 * that the services use, so that a wrong rule in one of those is found.
 */
export const table: readonly Row[] = [
  ...identityTable,
  ...keyVaultTable,
  ...diskEncryptionSetTable,
  ...diskTable,
  ...diskDataTable,
  ...diskHostTable,
  ...computeTable,
  ...messagingTable,
];
