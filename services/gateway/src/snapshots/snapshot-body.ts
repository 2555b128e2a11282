import type { Snapshot } from '@interlock/contracts/interlock/disk/v1/snapshot.ts';
import { encryptionShown } from '../cloud/encryption.ts';
import type { CloudNames } from '../cloud/names.ts';
import { armTypes, innerNameOfId, lastSegment } from '../cloud/resource-names.ts';
import { creationShown, type DiskGiven, importRefusal, invalid, provisioningStateShown } from '../disks/disk-body.ts';
import { RestError } from '../errors/rest-error.ts';
import type { ResourceExtras } from '../management/resource-records.ts';

/** Interlock name of the disk that a new snapshot keeps. @throws RestError 400 */
export const sourceDiskOf = (names: CloudNames, { properties = {} }: DiskGiven): string => {
  const { creationData } = properties;
  if (creationData === undefined) throw invalid('properties.creationData', 'is required for a new snapshot');
  const { createOption, sourceResourceId } = creationData;
  if (createOption.toLowerCase().startsWith('import')) throw new RestError(400, 'NotSupported', importRefusal);
  if (!['copy', 'copystart'].includes(createOption.toLowerCase())) {
    throw new RestError(
      400,
      'NotSupported',
      `properties.creationData.createOption of a snapshot must be Copy (got "${createOption}")`,
    );
  }
  const field = 'properties.creationData.sourceResourceId';
  if (sourceResourceId === undefined) throw invalid(field, 'is required for Copy');
  return innerNameOfId(names, sourceResourceId, ['disks'], field);
};

/** The snapshot as clients read it. @param idOf ARM id of an Interlock name */
export const snapshotBody = (snapshot: Snapshot, extras: ResourceExtras, idOf: (name: string) => string): unknown => {
  const { creationData, skuName = 'Standard_LRS', zones, ...kept } = extras.content;
  const isMade = snapshot.provisioningState === 'SUCCEEDED';
  return {
    id: extras.id,
    name: lastSegment(extras.id),
    type: armTypes.snapshots,
    location: snapshot.location,
    tags: extras.tags,
    sku: { name: skuName, tier: String(skuName).split('_')[0] },
    properties: {
      networkAccessPolicy: 'AllowAll',
      publicNetworkAccess: 'Enabled',
      ...kept,
      creationData: {
        ...(creationShown(extras.content, snapshot.sourceDisk, idOf) as object),
        sourceUniqueId: snapshot.sourceUniqueId,
      },
      diskSizeGB: snapshot.sizeGib,
      diskSizeBytes: snapshot.sizeGib * 1024 ** 3,
      encryption: encryptionShown(snapshot.encryption, idOf),
      incremental: snapshot.incremental,
      diskState: 'Unattached',
      snapshotAccessState: isMade ? 'Available' : 'Pending',
      completionPercent: isMade ? 100 : 0,
      uniqueId: snapshot.uniqueId,
      ...(snapshot.createTime && { timeCreated: snapshot.createTime.toISOString() }),
      provisioningState: provisioningStateShown(snapshot.provisioningState),
    },
  };
};
