import type { EncryptionType } from '@interlock/contracts/interlock/access/v1/access.ts';
import { RestError } from '../errors/rest-error.ts';

const types = [
  ['EncryptionAtRestWithPlatformKey', 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY'],
  ['EncryptionAtRestWithCustomerKey', 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY'],
  ['EncryptionAtRestWithPlatformAndCustomerKeys', 'ENCRYPTION_AT_REST_WITH_PLATFORM_AND_CUSTOMER_KEYS'],
] as const satisfies readonly (readonly [string, EncryptionType])[];

/** @throws RestError 400 InvalidParameter */
export const encryptionTypeOf = (name: string, field: string): EncryptionType => {
  const [, type] = types.find(([shown]) => shown.toLowerCase() === name.toLowerCase()) ?? [];
  if (type !== undefined) return type;
  const allowed = types.map(([shown]) => shown).join(', ');
  throw new RestError(400, 'InvalidParameter', `${field} must be one of ${allowed} (got "${name.slice(0, 100)}")`, {
    details: [{ code: 'InvalidParameter', message: `allowed: ${allowed}`, target: field }],
  });
};

/** The type as clients read it. */
export const encryptionTypeShown = (type: EncryptionType): string =>
  types.find(([, known]) => known === type)?.[0] ?? 'EncryptionAtRestWithPlatformKey';
