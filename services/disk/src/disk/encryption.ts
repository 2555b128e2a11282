import type {
  Encryption as WireEncryption,
  EncryptionType as WireEncryptionType,
  DiskSku as WireSku,
} from '@interlock/contracts/interlock/access/v1/access.ts';
import { Rejection } from '@interlock/event-store';

/** With whose keys data at rest is encrypted. Rules CMK-17, CMK-31, CMK-70. */
export type Encryption =
  | { readonly type: 'platform' }
  /** `set` is the full name of the disk encryption set. `double` has a layer under a key of the platform below. */
  | { readonly type: 'customer' | 'double'; readonly set: string };

/** Class of a disk. */
export type Sku = 'standard_hdd' | 'standard_ssd' | 'premium_ssd' | 'premium_ssd_v2' | 'ultra';

/** Where the sectors of a disk or snapshot are stored, and which DEK they are under. All ids are UUIDs. */
export interface VolumeRef {
  readonly volumeId: string;
  readonly dekId: string;
  /** The disk the DEK was made for. It is part of the wrapped payload, and a snapshot that shares the DEK has it too. */
  readonly dekDiskId: string;
  /** `dekAuthenticator` of that DEK. */
  readonly dekAuthenticator: string;
  /** Sequence of the header these facts agree with; a higher one in the header is a change whose event is missing. */
  readonly headerSequence: number;
  /** `headerDigest` of that header. */
  readonly headerDigest: string;
}

/** A volume that is to be made. */
export interface NewVolume {
  /** Name of the disk host that makes and keeps it. */
  readonly host: string;
  readonly volumeId: string;
}

/** The header that something was read from, or written to. It concerns this volume only. */
export type HeaderRef = Pick<VolumeRef, 'volumeId' | 'headerSequence' | 'headerDigest'>;

/** The key version a DEK is wrapped by, and the generation of the set it belongs to; `''` and 0 for the platform's key. */
export interface WrapRef {
  readonly keyVersion: string;
  readonly generation: number;
}

/** The set, or `''` under a key of the platform. */
export const setOf = (encryption: Encryption): string => (encryption.type === 'platform' ? '' : encryption.set);

/** Whether there is a layer under a key of the platform below. */
export const isLayered = ({ type }: Encryption): boolean => type === 'double';

/** Whether both are equal. */
export const sameEncryption = (a: Encryption, b: Encryption): boolean => a.type === b.type && setOf(a) === setOf(b);

/** Types of encryption as the API names them. */
export const encryptionTypeOnWire = {
  platform: 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY',
  customer: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY',
  double: 'ENCRYPTION_AT_REST_WITH_PLATFORM_AND_CUSTOMER_KEYS',
} as const satisfies Record<Encryption['type'], WireEncryptionType>;

/** Classes as the API names them. */
export const skuOnWire = {
  standard_hdd: 'STANDARD_HDD',
  standard_ssd: 'STANDARD_SSD',
  premium_ssd: 'PREMIUM_SSD',
  premium_ssd_v2: 'PREMIUM_SSD_V2',
  ultra: 'ULTRA',
} as const satisfies Record<Sku, WireSku>;

const skus: readonly Sku[] = ['standard_hdd', 'standard_ssd', 'premium_ssd', 'premium_ssd_v2', 'ultra'];

/** An encryption as the API shows it. */
export const encryptionOnWire = (encryption: Encryption): WireEncryption => ({
  type: encryptionTypeOnWire[encryption.type],
  diskEncryptionSet: setOf(encryption),
});

/**
 * Reads the encryption of a request. Customers' tools match on the texts of both refusals.
 * @param resource the name of the disk or snapshot, for the messages
 * @throws Rejection INVALID_ARGUMENT ENCRYPTION_TYPE_MISSING, ENCRYPTION_SET_MISSING, ENCRYPTION_SET_NOT_ALLOWED. Rule CMK-51.
 */
export const encryptionFromWire = (wire: WireEncryption, resource: string): Encryption => {
  const { type, diskEncryptionSet: set } = wire;
  const refuse = (reason: string, message: string): Rejection =>
    new Rejection('INVALID_ARGUMENT', reason, message, { field: 'encryption', resource });
  switch (type) {
    case 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY':
      if (set === '') return { type: 'platform' };
      throw refuse(
        'ENCRYPTION_SET_NOT_ALLOWED',
        `Resource ${resource} encrypted with platform key has disk encryption set id specified`,
      );
    case 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY':
    case 'ENCRYPTION_AT_REST_WITH_PLATFORM_AND_CUSTOMER_KEYS':
      if (set !== '') return { type: type === 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY' ? 'customer' : 'double', set };
      throw refuse(
        'ENCRYPTION_SET_MISSING',
        `Resource '${resource}' encrypted with customer managed key has disk encryption set missing resource id.`,
      );
    default:
      throw refuse(
        'ENCRYPTION_TYPE_MISSING',
        `encryption.type of ${resource} must say with whose keys it is encrypted`,
      );
  }
};

/** @throws Rejection INVALID_ARGUMENT DISK_SKU_MISSING for a missing or unknown class. */
export const skuFromWire = (wire: WireSku): Sku => {
  const found = skus.find((sku) => skuOnWire[sku] === wire);
  if (found) return found;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'DISK_SKU_MISSING',
    `sku must be one of ${Object.values(skuOnWire).join(', ')}`,
    {
      field: 'sku',
    },
  );
};
