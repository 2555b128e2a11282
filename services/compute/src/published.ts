import { ComputeEvent } from '@interlock/contracts/interlock/compute/v1/compute_events.ts';
import { eventReader } from '@interlock/event-store';
import { encoder, type ToFact, unknownEvent } from '@interlock/messaging';
import { virtualMachines } from './vm/decider.ts';
import type { VmEvent } from './vm/events.ts';
import type { VmDisk } from './vm/machine.ts';
import { attachedDiskOnWire, failureOnWire, lossOnWire } from './vm/wire.ts';

const vmEvent = eventReader(virtualMachines);
const encode = encoder(ComputeEvent);

/**
 * The facts for operators and for readers of the feed: no service consumes them. A machine is published as created with the disks
 * of its request.
 */
export const toFact: ToFact = (recorded) => {
  const found = vmEvent(recorded);
  const event = found && published(found.id, found.event);
  if (!found || !event) return null;
  return { type: nameOf(event.$case), payload: encode({ event }) };
};

type PublishedEvent = NonNullable<ComputeEvent['event']>;

/** `vmStarted` → `VmStarted`: the name of the message. */
const nameOf = ($case: PublishedEvent['$case']): string => `${$case.charAt(0).toUpperCase()}${$case.slice(1)}`;

const published = (virtualMachine: string, event: VmEvent): PublishedEvent | undefined => {
  switch (event.type) {
    case 'VmCreated': {
      const [osDisk, dataDisks] = [event.disks.find(({ isOs }) => isOs), event.disks.filter(({ isOs }) => !isOs)];
      const asDisk = (disk: Pick<VmDisk, 'disk' | 'lun' | 'deleteWithVm' | 'sku'>) => attachedDiskOnWire(disk);
      return {
        $case: 'vmCreated',
        value: { virtualMachine, osDisk: osDisk && asDisk(osDisk), dataDisks: dataDisks.map(asDisk) },
      };
    }
    case 'VmStarted':
      return { $case: 'vmStarted', value: { virtualMachine } };
    case 'VmStopping':
      return { $case: 'vmStopping', value: { virtualMachine, reason: event.reason && lossOnWire(event.reason) } };
    case 'VmStopped':
      return { $case: 'vmStopped', value: { virtualMachine, reason: event.reason && lossOnWire(event.reason) } };
    case 'VmDeallocated':
      return { $case: 'vmDeallocated', value: { virtualMachine } };
    case 'VmStartFailed':
      return { $case: 'vmStartFailed', value: { virtualMachine, failure: failureOnWire(event.failure) } };
    case 'VmDeleted':
      return { $case: 'vmDeleted', value: { virtualMachine } };
    case 'DiskAttachedToVm':
      return { $case: 'diskAttachedToVm', value: { virtualMachine, disk: attachedDiskOnWire(event) } };
    case 'DiskDetachedFromVm':
      return { $case: 'diskDetachedFromVm', value: { virtualMachine, disk: event.disk } };
    case 'VmCreationStarted':
    case 'VmCreationUndoing':
    case 'VmCreationFailed':
    case 'VmStarting':
    case 'VmPlaced':
    case 'DisksOpened':
    case 'VmKeptOff':
    case 'VmDeallocating':
    case 'DisksClosed':
    case 'VmDeleting':
    case 'DiskAttaching':
    case 'DiskAttachUndoing':
    case 'DiskAttachFailed':
    case 'DiskDetaching':
    case 'DiskKeyChanged':
    case 'KeyAccessReturned':
    case 'OutageExplained':
    case 'NextStartBlocked':
    case 'ContentMismatchFound':
      return undefined;
    default:
      throw unknownEvent(event);
  }
};
