import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import type { JsonObject } from '@interlock/event-store';
import { type Static, Type } from '@sinclair/typebox';
import { EncryptionBody, encryptionShown } from '../cloud/encryption.ts';
import type { CloudNames } from '../cloud/names.ts';
import { armTypes, innerNameOfId, lastSegment } from '../cloud/resource-names.ts';
import { RestError } from '../errors/rest-error.ts';
import { Int32 } from '../http/int32.ts';
import { TagsBody } from '../management/arm.ts';
import type { ResourceExtras } from '../management/resource-records.ts';
import { performanceShown, skuShown } from './skus.ts';

const bytesPerGib = 1024 ** 3;
/** Size of an OS disk from an image whose body names none, in GiB: that of common images. */
export const imageGib = 30;
/** A fixed VHD ends in a footer of so many bytes. */
const footerBytes = 512;

const CreationData = Type.Object({
  createOption: Type.String({ maxLength: 50 }),
  sourceResourceId: Type.Optional(Type.String({ maxLength: 500 })),
  sourceUri: Type.Optional(Type.String({ maxLength: 2_000 })),
  uploadSizeBytes: Type.Optional(Type.Integer({ minimum: 0 })),
});

/** A disk or snapshot in a PUT or PATCH. Members without a schema are kept as they are, or ignored if read-only. */
export const DiskBody = Type.Object({
  location: Type.Optional(Type.String({ maxLength: 64 })),
  tags: Type.Optional(TagsBody),
  sku: Type.Optional(Type.Object({ name: Type.Optional(Type.String({ maxLength: 50 })) })),
  zones: Type.Optional(Type.Array(Type.String({ maxLength: 10 }), { maxItems: 10 })),
  properties: Type.Optional(
    Type.Object({
      creationData: Type.Optional(CreationData),
      diskSizeGB: Type.Optional(Int32),
      encryption: Type.Optional(EncryptionBody),
      incremental: Type.Optional(Type.Boolean()),
    }),
  ),
});

export type DiskGiven = Static<typeof DiskBody>;
export type CreationGiven = Static<typeof CreationData>;

/** Members of `properties` that management keeps for its clients and no service has. */
const keptMembers = [
  'osType',
  'hyperVGeneration',
  'networkAccessPolicy',
  'publicNetworkAccess',
  'diskAccessId',
  'dataAccessAuthMode',
  'tier',
  'burstingEnabled',
  'maxShares',
  'diskIOPSReadWrite',
  'diskMBpsReadWrite',
  'diskIOPSReadOnly',
  'diskMBpsReadOnly',
  'supportsHibernation',
  'optimizedForFrequentAttach',
  'purchasePlan',
  'supportedCapabilities',
] as const;

/** What management keeps of a disk or snapshot: what was kept before, and over it what the body has. */
export const keptContent = (before: JsonObject, body: DiskGiven): JsonObject => {
  const given = (body.properties ?? {}) as JsonObject;
  const creationData = before.creationData ?? (given.creationData as JsonObject | undefined);
  const kept = keptMembers.flatMap((member) => {
    const value = given[member];
    return value === undefined ? [] : [[member, value] as const];
  });
  return {
    ...before,
    ...Object.fromEntries(kept),
    ...(creationData === undefined ? {} : { creationData }),
    ...(body.sku?.name === undefined ? {} : { skuName: body.sku.name }),
    ...(body.zones === undefined ? {} : { zones: body.zones }),
  };
};

/** What a new disk is made from, and how large it is. */
export interface Creation {
  readonly source: { readonly $case: 'sourceDisk' | 'sourceSnapshot'; readonly value: string } | undefined;
  /** 0: the size of the source. */
  readonly sizeGib: number;
}

/** Creation of a disk from its body. @throws RestError 400 */
export const creationOf = (names: CloudNames, { properties = {} }: DiskGiven): Creation => {
  const { creationData, diskSizeGB = 0 } = properties;
  if (creationData === undefined) throw invalid('properties.creationData', 'is required for a new disk');
  const { createOption, sourceResourceId, uploadSizeBytes } = creationData;
  switch (createOption.toLowerCase()) {
    case 'empty':
      return { source: undefined, sizeGib: diskSizeGB };
    case 'fromimage':
      // There are no images: the disk is empty, and as large as common ones.
      return { source: undefined, sizeGib: diskSizeGB || imageGib };
    case 'upload':
    case 'uploadpreparedsecure': {
      if (uploadSizeBytes === undefined)
        throw invalid('properties.creationData.uploadSizeBytes', 'is required for Upload');
      return { source: undefined, sizeGib: diskSizeGB || Math.ceil((uploadSizeBytes - footerBytes) / bytesPerGib) };
    }
    case 'copy':
    case 'copystart':
    case 'restore': {
      const field = 'properties.creationData.sourceResourceId';
      if (sourceResourceId === undefined) throw invalid(field, `is required for ${createOption}`);
      const value = innerNameOfId(names, sourceResourceId, ['snapshots', 'disks'], field);
      const $case = value.split('/')[4] === 'snapshots' ? 'sourceSnapshot' : 'sourceDisk';
      return { source: { $case, value }, sizeGib: diskSizeGB };
    }
    case 'import':
    case 'importsecure':
      throw new RestError(400, 'NotSupported', importRefusal);
    default:
      throw new RestError(
        400,
        'NotSupported',
        `properties.creationData.createOption must be Empty, Copy, CopyStart, Restore, Upload or FromImage (got "${createOption}")`,
      );
  }
};

/** Why no disk and no snapshot is made from the URL of a blob. */
export const importRefusal =
  'properties.creationData.createOption must not be Import: there are no storage accounts. Create the disk with Upload (az disk create --upload-type Upload --upload-size-bytes), write the VHD to the URL of its access (az disk grant-access --access-level Write), and take snapshots of the disk.';

/** @throws RestError 409 where the body has other creation data than the disk: it is fixed (REST-41) */
export const refuseOtherCreation = (extras: ResourceExtras, { properties }: DiskGiven): void => {
  const before = extras.content.creationData as CreationGiven | undefined;
  const given = properties?.creationData;
  if (before === undefined || given === undefined) return;
  const isSame =
    before.createOption.toLowerCase() === given.createOption.toLowerCase() &&
    (given.sourceResourceId ?? before.sourceResourceId)?.toLowerCase() === before.sourceResourceId?.toLowerCase();
  if (isSame) return;
  throw new RestError(409, 'PropertyChangeNotAllowed', "Changing property 'creationData' is not allowed.", {
    details: [{ code: 'PropertyChangeNotAllowed', message: 'the property is fixed', target: 'creationData' }],
  });
};

/** An error about one member. */
export const invalid = (field: string, what: string): RestError =>
  new RestError(400, 'InvalidParameter', `${field} ${what}`, {
    details: [{ code: 'InvalidParameter', message: what, target: field }],
  });

const stateShown = ({ state }: Disk, content: JsonObject): string => {
  const isUpload = String((content.creationData as CreationGiven | undefined)?.createOption).toLowerCase() === 'upload';
  const isOpen = isUpload && content.uploaded !== true;
  if (state === 'ATTACHED') return 'Attached';
  if (state === 'RESERVED') return 'Reserved';
  if (state === 'ACTIVE_ACCESS') return isOpen ? 'ActiveUpload' : 'ActiveSAS';
  return isOpen ? 'ReadyToUpload' : 'Unattached';
};

const provisioningShown: Readonly<Record<string, string>> = {
  CREATING: 'Creating',
  UPDATING: 'Updating',
  DELETING: 'Deleting',
  FAILED: 'Failed',
};

/** The state of a disk or snapshot as clients read it. */
export const provisioningStateShown = (state: string): string => provisioningShown[state] ?? 'Succeeded';

/** Creation data as clients read it. @param source Interlock name; empty for a disk that was made empty */
export const creationShown = (content: JsonObject, source: string, idOf: (name: string) => string): unknown =>
  content.creationData ??
  (source === '' ? { createOption: 'Empty' } : { createOption: 'Copy', sourceResourceId: idOf(source) });

/** The disk as clients read it. @param idOf ARM id of an Interlock name */
export const diskBody = (disk: Disk, extras: ResourceExtras, idOf: (name: string) => string): unknown => {
  const { creationData, skuName, zones, uploaded, ...kept } = extras.content;
  return {
    id: extras.id,
    name: lastSegment(extras.id),
    type: armTypes.disks,
    location: disk.location,
    tags: extras.tags,
    ...(zones === undefined ? {} : { zones }),
    sku: { name: skuShown(disk.sku, skuName), tier: skuShown(disk.sku, skuName).split('_')[0] },
    ...(disk.managedBy === '' ? {} : { managedBy: idOf(disk.managedBy) }),
    properties: {
      networkAccessPolicy: 'AllowAll',
      publicNetworkAccess: 'Enabled',
      ...performanceShown(disk.sku, disk.sizeGib),
      ...kept,
      creationData: creationShown(extras.content, disk.source, idOf),
      diskSizeGB: disk.sizeGib,
      diskSizeBytes: disk.sizeGib * bytesPerGib,
      encryption: encryptionShown(disk.encryption, idOf),
      diskState: stateShown(disk, extras.content),
      uniqueId: disk.uniqueId,
      ...(disk.createTime && { timeCreated: disk.createTime.toISOString() }),
      provisioningState: provisioningStateShown(disk.provisioningState),
    },
  };
};
