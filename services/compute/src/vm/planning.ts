import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { Rejection } from '@interlock/event-store';
import { type Authorizer, type Call, isSameRegion, principalOf, requirePermission } from '@interlock/rpc';
import { type Disks, TimedOut } from '../disk-service/disks.ts';
import type { DiskSpec, PlannedDisk } from './machine.ts';
import { checkSku } from './requests.ts';
import { skuOf } from './wire-sku.ts';

/** For whom disks are looked up. */
export interface PlanFor {
  readonly vm: string;
  readonly location: string;
  readonly ultraSsdEnabled: boolean;
}

interface PlanningParts {
  readonly disks: Disks;
  readonly authorize: Authorizer;
}

/**
 * Looks up the disks of a request: whether the caller may use them, whether they fit, and under which key they are. compute
 * acts on disks in its own name, so it checks the permissions of its caller first.
 */
export const diskPlanner =
  (parts: PlanningParts) =>
  /**
   * @throws Rejection that names the field and what would be right; PERMISSION_DENIED ACCESS_DENIED; UNAVAILABLE
   *   DEPENDENCY_UNAVAILABLE; ABORTED DISK_CREATING; RpcFailure
   */
  (spec: DiskSpec, plan: PlanFor, field: string, call: Call): Promise<PlannedDisk> =>
    spec.make ? planNewDisk(parts, spec, spec.make, field, call) : planExistingDisk(parts, spec, plan, field, call);

export type DiskPlanner = ReturnType<typeof diskPlanner>;

/** @param options.isMade whether to wait for a disk that is still being created */
const read = async (
  { disks }: PlanningParts,
  name: string,
  { signal, deadline }: Call,
  options: { readonly isMade: boolean },
): Promise<Disk> => {
  try {
    return await disks.insist(
      async (client, within) => {
        const found = await client.getDisk({ name }, within);
        if (!options.isMade || found.provisioningState !== 'CREATING') return found;
        throw new Rejection('ABORTED', 'DISK_CREATING', `${name} is being created: try again`, { disk: name });
      },
      { signal, untilMs: deadline },
    );
  } catch (error) {
    if (!(error instanceof TimedOut)) throw error;
    if (error.cause instanceof Rejection && error.cause.reason === 'DISK_CREATING') throw error.cause;
    throw new Rejection(
      'UNAVAILABLE',
      'DEPENDENCY_UNAVAILABLE',
      `the disk service did not return ${name} in time: try again`,
      { service: 'disk', disk: name },
      { cause: error },
    );
  }
};

const planExistingDisk = async (
  parts: PlanningParts,
  spec: DiskSpec,
  plan: PlanFor,
  field: string,
  call: Call,
): Promise<PlannedDisk> => {
  const { disk: name, isOs } = spec;
  await requirePermission(parts.authorize, principalOf(call), 'compute/disks/write', name);
  const found = await read(parts, name, call, { isMade: true });
  const { location, managedBy, encryption, keyVersion, etag } = found;
  if (!isSameRegion(location, plan.location)) {
    throw new Rejection(
      'INVALID_ARGUMENT',
      'LOCATION_MISMATCH',
      `${field}: ${name} is in ${location}, and must be in the region of the machine, ${plan.location}`,
      { field, location, expected: plan.location },
    );
  }
  if (managedBy !== '' && managedBy !== plan.vm) {
    throw new Rejection(
      'FAILED_PRECONDITION',
      'DISK_ATTACHED',
      `Disk '${name}' cannot be attached as the disk is already owned by VM '${managedBy}'.`,
      { field, disk: name, vm: managedBy },
    );
  }
  const sku = skuOf(found.sku);
  if (!sku) throw new Error(`disk ${name} has a class this service does not know: ${found.sku}`);
  checkSku(sku, isOs, plan.ultraSsdEnabled, field);
  return { ...spec, sku, set: encryption?.diskEncryptionSet ?? '', keyVersion, diskVersion: Number(etag) };
};

const planNewDisk = async (
  parts: PlanningParts,
  spec: DiskSpec,
  make: NonNullable<DiskSpec['make']>,
  field: string,
  call: Call,
): Promise<PlannedDisk> => {
  const { authorize } = parts;
  const principal = principalOf(call);
  await requirePermission(authorize, principal, 'compute/disks/write', spec.disk);
  if (make.set !== '') await requirePermission(authorize, principal, 'compute/diskEncryptionSets/read', make.set);
  try {
    await read(parts, spec.disk, call, { isMade: false });
  } catch (error) {
    if (!(error instanceof Rejection && error.code === 'NOT_FOUND')) throw error;
    return { ...spec, sku: make.sku, set: make.set, keyVersion: '' };
  }
  throw new Rejection(
    'ALREADY_EXISTS',
    'DISK_ALREADY_EXISTS',
    `${field}: ${spec.disk} exists; name it as the disk, or choose another disk_id`,
    { field, disk: spec.disk },
  );
};
