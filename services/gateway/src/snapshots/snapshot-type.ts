import type { Snapshot } from '@interlock/contracts/interlock/disk/v1/snapshot.ts';
import type { Caller } from '../cloud/caller.ts';
import { encryptionOf, isEncryptedAs } from '../cloud/encryption.ts';
import { groupName } from '../cloud/names.ts';
import { armTypes, type NamedPath } from '../cloud/resource-names.ts';
import { DiskBody, type DiskGiven, keptContent, refuseOtherCreation } from '../disks/disk-body.ts';
import type { DiskParts } from '../disks/disk-type.ts';
import { RestError } from '../errors/rest-error.ts';
import { type Route, refusedRoute } from '../http/route.ts';
import { refuseMove } from '../management/arm.ts';
import { extrasFor } from '../management/resource-records.ts';
import { longCallMs } from '../operations/wait.ts';
import { pathOf } from '../resource-types/rows.ts';
import type { ServiceType } from '../resource-types/service-type.ts';
import { snapshotBody, sourceDiskOf } from './snapshot-body.ts';

/** Snapshots of disks. */
export const snapshotType = (parts: DiskParts): ServiceType<Snapshot, DiskGiven> => {
  const { disks } = parts.backends;
  return {
    collection: 'snapshots',
    service: 'disk',
    family: 'DiskOperations',
    does: {
      put: 'Takes a snapshot of a disk, or updates its tags',
      patch: 'Updates the tags of a snapshot',
      get: 'Reads a snapshot',
      delete: 'Deletes a snapshot',
      list: 'snapshots',
    },
    body: DiskBody,
    calls: {
      get: (name, options) => disks.getSnapshot({ name }, options),
      delete: (name, options) => disks.deleteSnapshot({ name }, options),
      async list(page, options) {
        const found = await disks.listSnapshots(page, options);
        return { found: found.snapshots, next: found.nextPageToken };
      },
      create: (path, body, caller) => createSnapshot(parts, path, body, caller),
      update: (snapshot, body, caller) => checkUnchanged(parts, snapshot, body, caller),
    },
    incarnationOf: ({ uniqueId }) => uniqueId,
    namedBy: ({ sourceDisk, encryption }) => [sourceDisk, encryption?.diskEncryptionSet ?? ''],
    kept: keptContent,
    shown: snapshotBody,
  };
};

const createSnapshot = async (
  parts: DiskParts,
  path: NamedPath,
  body: DiskGiven,
  caller: Caller,
): Promise<Snapshot> => {
  const { backends, names } = parts;
  const encryption = await encryptionOf(parts, body.properties?.encryption, caller);
  return backends.disks.createSnapshot(
    {
      parent: groupName(names, path.subscription, path.group),
      snapshotId: path.name.toLowerCase(),
      sourceDisk: sourceDiskOf(names, body),
      incremental: body.properties?.incremental ?? false,
      ...(encryption === undefined ? {} : { encryption }),
    },
    { ...caller.as('disk'), deadlineMs: longCallMs },
  );
};

/** A snapshot never changes. @throws RestError 409 */
const checkUnchanged = async (
  parts: DiskParts,
  snapshot: Snapshot,
  body: DiskGiven,
  caller: Caller,
): Promise<Snapshot> => {
  const { name, location, uniqueId } = snapshot;
  refuseMove(body.location, location, name);
  refuseOtherCreation(await extrasFor(parts.resourceRecords, { name, incarnation: uniqueId }), body);
  const wanted = await encryptionOf(parts, body.properties?.encryption, caller);
  if (isEncryptedAs(snapshot.encryption, wanted)) return snapshot;
  throw new RestError(
    409,
    'OperationNotAllowed',
    "Changing property 'encryption' of a snapshot is not allowed: it is encrypted as it was taken.",
  );
};

/** What snapshots have besides the rows of every type. */
export const snapshotRoutes: readonly Route[] = ['beginGetAccess', 'endGetAccess'].map((verb) =>
  refusedRoute({
    host: 'gateway',
    method: 'POST',
    path: `${pathOf(armTypes.snapshots)}/${verb}`,
    does: `${verb} of a snapshot`,
    refusedBecause: 'Create a disk from the snapshot, and read that.',
  }),
);
