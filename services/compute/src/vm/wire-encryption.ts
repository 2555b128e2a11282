import type { EncryptionType } from '@interlock/contracts/interlock/access/v1/access.ts';

const types: readonly EncryptionType[] = [
  'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY',
  'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY',
  'ENCRYPTION_AT_REST_WITH_PLATFORM_AND_CUSTOMER_KEYS',
];

/** An encryption type of the contracts; `undefined` if none is given: the disk service chooses. */
export const encryptionTypeOf = (name: string): EncryptionType | undefined => types.find((known) => known === name);
