import type { CreateDiskRequest } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { Rejection } from '@interlock/event-store';
import { names, subscriptionOf } from '@interlock/rpc';

/**
 * The disk that a new one is to be near; undefined if the request names none. It is of the same subscription, so that no owner chooses
 * the host of another owner's disks for its own.
 * @throws Rejection INVALID_ARGUMENT NAME_INVALID, SUBSCRIPTION_MISMATCH
 */
export const nearOf = ({ near, parent }: Pick<CreateDiskRequest, 'near' | 'parent'>): string | undefined => {
  if (near === '') return undefined;
  names.disk.parse(near, 'near');
  if (subscriptionOf(near) === subscriptionOf(parent)) return near;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'SUBSCRIPTION_MISMATCH',
    `near must be a disk of ${subscriptionOf(parent)}, the subscription of the new disk (got ${near})`,
    { field: 'near', near },
  );
};
