import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { Rejection } from '@interlock/event-store';
import { type Authorizer, type Call, isSameRegion, principalOf, requirePermission } from '@interlock/rpc';
import { type Disks, TimedOut } from '../work/disks.ts';
import type { PlannedDisk, WishedDisk } from './machine.ts';
import { checkSku } from './requests.ts';
import { skuOf } from './wire-sku.ts';

/** For whom disks are looked up. */
export interface PlanFor {
  readonly vm: string;
  readonly location: string;
  readonly ultraSsdEnabled: boolean;
}

/**
 * Looks the disks of a wish up: whether the caller may use them, whether they fit, and under which key they are. compute
 * acts on disks in its own name, so it asks in the name of its caller first.
 */
export const diskPlanner = (parts: { readonly disks: Disks; readonly authorize: Authorizer }) => {
  const { disks, authorize } = parts;

  /** @param options.isMade whether a disk that is still being made is waited for */
  const read = async (name: string, { signal, deadline }: Call, options: { isMade: boolean }): Promise<Disk> => {
    try {
      return await disks.insist(
        async (client, within) => {
          const found = await client.getDisk({ name }, within);
          if (!options.isMade || found.provisioningState !== 'CREATING') return found;
          throw new Rejection('ABORTED', 'DISK_CREATING', `${name} is being made: try again`, { disk: name });
        },
        { signal, untilMs: deadline },
      );
    } catch (error) {
      if (!(error instanceof TimedOut)) throw error;
      if (error.cause instanceof Rejection && error.cause.reason === 'DISK_CREATING') throw error.cause;
      throw new Rejection(
        'UNAVAILABLE',
        'DEPENDENCY_UNAVAILABLE',
        `the disk service did not say in time what ${name} is: try again`,
        { service: 'disk', disk: name },
        { cause: error },
      );
    }
  };

  const existing = async (wished: WishedDisk, plan: PlanFor, field: string, call: Call): Promise<PlannedDisk> => {
    const { disk: name, isOs } = wished;
    await requirePermission(authorize, principalOf(call), 'compute/disks/write', name);
    const {
      location,
      managedBy,
      sku: wireSku,
      encryption,
      keyVersion,
      etag,
    } = await read(name, call, { isMade: true });
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
    const sku = skuOf(wireSku);
    if (!sku) throw new Error(`disk ${name} has no class this service knows`);
    checkSku(sku, isOs, plan.ultraSsdEnabled, field);
    return { ...wished, sku, set: encryption?.diskEncryptionSet ?? '', keyVersion, diskVersion: Number(etag) };
  };

  const fresh = async (
    wished: WishedDisk,
    make: NonNullable<WishedDisk['make']>,
    field: string,
    call: Call,
  ): Promise<PlannedDisk> => {
    const principal = principalOf(call);
    await requirePermission(authorize, principal, 'compute/disks/write', wished.disk);
    if (make.set !== '') await requirePermission(authorize, principal, 'compute/diskEncryptionSets/read', make.set);
    try {
      await read(wished.disk, call, { isMade: false });
    } catch (error) {
      if (error instanceof Rejection && error.code === 'NOT_FOUND') {
        return { ...wished, sku: make.sku, set: make.set, keyVersion: '' };
      }
      throw error;
    }
    throw new Rejection(
      'ALREADY_EXISTS',
      'DISK_ALREADY_EXISTS',
      `${field}: ${wished.disk} exists; name it as the disk, or choose another disk_id`,
      { field, disk: wished.disk },
    );
  };

  /**
   * @throws Rejection that names the field and what would be right; PERMISSION_DENIED ACCESS_DENIED; UNAVAILABLE
   *   DEPENDENCY_UNAVAILABLE; ABORTED DISK_CREATING; RpcFailure
   */
  return (wished: WishedDisk, plan: PlanFor, field: string, call: Call): Promise<PlannedDisk> =>
    wished.make ? fresh(wished, wished.make, field, call) : existing(wished, plan, field, call);
};

export type DiskPlanner = ReturnType<typeof diskPlanner>;
