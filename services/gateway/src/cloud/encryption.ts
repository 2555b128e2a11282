import type { Encryption } from '@interlock/contracts/interlock/access/v1/access.ts';
import { Rejection } from '@interlock/event-store';
import { Type } from '@sinclair/typebox';
import type { Backends } from './backends.ts';
import type { Caller } from './caller.ts';
import { encryptionTypeOf, encryptionTypeShown } from './encryption-types.ts';
import type { CloudNames } from './names.ts';
import { innerNameOfId } from './resource-names.ts';

/** `encryption` of a disk or snapshot. */
export const EncryptionBody = Type.Object({
  type: Type.Optional(Type.String({ maxLength: 100 })),
  diskEncryptionSetId: Type.Optional(Type.String({ maxLength: 500 })),
});

/** What a body says about encryption. */
export interface EncryptionGiven {
  readonly type?: string;
  readonly diskEncryptionSetId?: string;
}

/**
 * The encryption that a body describes; undefined where it describes none. Without a type it is that of the set (REST-41); a caller who
 * may not read the set gets the type of the customer's key alone, and the disk service refuses it if the set has another.
 */
export const encryptionOf = async (
  { backends, names }: { readonly backends: Pick<Backends, 'sets'>; readonly names: CloudNames },
  given: EncryptionGiven | undefined,
  caller: Caller,
): Promise<Encryption | undefined> => {
  const { type, diskEncryptionSetId: id = '' } = given ?? {};
  const diskEncryptionSet =
    id === '' ? '' : innerNameOfId(names, id, ['diskEncryptionSets'], 'properties.encryption.diskEncryptionSetId');
  if (type !== undefined) return { type: encryptionTypeOf(type, 'properties.encryption.type'), diskEncryptionSet };
  if (diskEncryptionSet === '') return undefined;
  try {
    const options = caller.as('disk-encryption-set');
    const { encryptionType } = await backends.sets.getDiskEncryptionSet({ name: diskEncryptionSet }, options);
    return { type: encryptionType, diskEncryptionSet };
  } catch (error) {
    if (!(error instanceof Rejection) || error.code !== 'PERMISSION_DENIED') throw error;
    return { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet };
  }
};

/** Whether a resource is encrypted in this way already. @param wanted undefined: any */
export const isEncryptedAs = (now: Encryption | undefined, wanted: Encryption | undefined): boolean =>
  wanted === undefined ||
  (now?.type === wanted.type && now.diskEncryptionSet.toLowerCase() === wanted.diskEncryptionSet.toLowerCase());

/** The encryption as clients read it. @param idOf ARM id of an Interlock name */
export const encryptionShown = (encryption: Encryption | undefined, idOf: (name: string) => string): unknown => {
  const { type = 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY', diskEncryptionSet = '' } = encryption ?? {};
  return {
    type: encryptionTypeShown(type),
    ...(diskEncryptionSet === '' ? {} : { diskEncryptionSetId: idOf(diskEncryptionSet) }),
  };
};
