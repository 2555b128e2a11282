import { VmHostServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import {
  type AttachGuestDiskRequest,
  type DescribeGuestRequest,
  type DetachGuestDiskRequest,
  type ForgetGuestRequest,
  GuestAtHost,
  type GuestRef,
  type ListGuestsRequest,
  type ReadGuestPageRequest,
  type StartGuestRequest,
  type StopGuestRequest,
} from '@interlock/contracts/interlock/compute/v1/guests.ts';
import { Rejection } from '@interlock/event-store';
import { type Authorization, type BoundService, names, service } from '@interlock/rpc';
import { isSpaceError, type Logger } from '@interlock/runtime';
import { diskOfWire, ioOnWire, pageOnWire, planOfWire } from '../guests/guest-wire.ts';
import { type GuestPlan, GuestStartError, type VmHost } from '../guests/vm-host.ts';
import type { PlacedGuests, PlacementRef } from './placed-guests.ts';
import type { Placement } from './placements.ts';

/** Most guests, or operations, of a page. */
const pageMax = 1_000;

/** Who may call each method of VmHostService: only compute has what a guest needs, and knows the placement. */
export const vmHostAuthorization = {
  startGuest: { workload: ['compute'] },
  stopGuest: { workload: ['compute'] },
  attachGuestDisk: { workload: ['compute'] },
  detachGuestDisk: { workload: ['compute'] },
  listGuests: { workload: ['compute'] },
  describeGuest: { workload: ['compute'] },
  readGuestPage: { workload: ['compute'] },
  forgetGuest: { workload: ['compute'] },
} satisfies Authorization<typeof VmHostServiceDefinition>;

interface ApiParts {
  readonly guests: PlacedGuests;
  readonly driver: Pick<VmHost, 'disksOf' | 'ioOf' | 'journalOf' | 'endOf'>;
  readonly log: Logger;
}

/** VmHostService of a VM host. */
export const vmHostApi = (parts: ApiParts): BoundService =>
  service({
    definition: VmHostServiceDefinition,
    implementation: { ...changes(parts), ...looks(parts) },
    authorization: vmHostAuthorization,
  });

const changes = ({ guests, log }: ApiParts) => ({
  async startGuest(request: StartGuestRequest) {
    const ref = refOf(request.guest);
    await startOn({ guests, log }, ref, planOfWire(ref.machineId, request));
    return {};
  },
  async stopGuest({ guest, graceMs, isKeyLost }: StopGuestRequest) {
    if (graceMs < 0) throw invalid(`grace_ms must be at least 0 (got ${graceMs})`, 'grace_ms');
    await guests.stop(refOf(guest), { graceMs, isKeyLost });
    return {};
  },
  async attachGuestDisk({ guest, disk, order }: AttachGuestDiskRequest) {
    if (disk === undefined) throw invalid('disk must be set', 'disk');
    await guests.attach(refOf(guest), diskOfWire(disk), order);
    return {};
  },
  async detachGuestDisk({ guest, disk, order }: DetachGuestDiskRequest) {
    await guests.detach(refOf(guest), disk, order);
    return {};
  },
  async forgetGuest({ guest }: ForgetGuestRequest) {
    await guests.forget(refOf(guest));
    return {};
  },
});

const looks = ({ guests, driver }: ApiParts) => ({
  async listGuests({ pageSize, pageToken }: ListGuestsRequest) {
    const size = sizeOf(pageSize);
    const rest = guests.all().filter(({ vm }) => vm > pageToken);
    const page = rest.slice(0, size);
    const listed = await Promise.all(page.map((known) => atHost({ guests, driver }, known)));
    return { guests: listed, nextPageToken: rest.length > size ? (page.at(-1)?.vm ?? '') : '' };
  },
  async describeGuest({ guest }: DescribeGuestRequest) {
    const ref = refOf(guest);
    const isRunning = await guests.isRunning(ref);
    const io = await driver.ioOf(ref.vm, ref.machineId);
    // A guest of which this host knows nothing was lost with its folder.
    const { end, detail = '' } =
      !isRunning && guests.isOn(ref) ? await driver.endOf(ref.vm) : { end: 'HOST_RESTARTED' as const };
    return {
      isRunning,
      ...(io === undefined ? {} : { io: ioOnWire(io) }),
      ...(isRunning ? {} : { end, endDetail: detail }),
    };
  },
  async readGuestPage({ guest, after, pageSize }: ReadGuestPageRequest) {
    const { vm, machineId } = refOf(guest);
    const page = await driver.journalOf(vm, machineId, after, sizeOf(pageSize));
    return page === undefined ? { isKnown: false } : { isKnown: true, page: pageOnWire(page) };
  },
});

/**
 * @throws Rejection UNAVAILABLE GUEST_START_FAILED, whose message is for the user of the machine; FAILED_PRECONDITION GUEST_STOPPED if a
 *   stop ended the start
 */
const startOn = async (
  { guests, log }: Pick<ApiParts, 'guests' | 'log'>,
  ref: PlacementRef,
  plan: GuestPlan,
): Promise<void> => {
  try {
    await guests.start(ref, plan);
  } catch (error) {
    if (error instanceof Rejection) throw error;
    if (!guests.isOn(ref)) {
      const message = `placement ${ref.number} of ${ref.vm} was stopped before its guest was up`;
      throw new Rejection('FAILED_PRECONDITION', 'GUEST_STOPPED', message, { vm: ref.vm }, { cause: error });
    }
    log.warn('guest did not start', { vm: ref.vm, error });
    throw new Rejection('UNAVAILABLE', 'GUEST_START_FAILED', problemOf(error), { vm: ref.vm }, { cause: error });
  }
};

const problemOf = (error: unknown): string => {
  if (error instanceof GuestStartError) return error.message;
  return isSpaceError(error)
    ? 'its VM host has no space left for the files of its guest. Try again when an operator has freed some.'
    : 'its guest did not come up. Try again.';
};

const atHost = async ({ guests, driver }: Omit<ApiParts, 'log'>, known: Placement): Promise<GuestAtHost> => {
  const io = await driver.ioOf(known.vm, known.machineId);
  return GuestAtHost.fromPartial({
    guest: { virtualMachine: known.vm, uniqueId: known.machineId, placement: known.number },
    isRunning: await guests.isRunning(known),
    disks: [...(await driver.disksOf(known.vm))],
    ...(io === undefined ? {} : { io: ioOnWire(io) }),
  });
};

/** @throws Rejection INVALID_ARGUMENT GUEST_INVALID, NAME_INVALID */
const refOf = (guest: GuestRef | undefined): PlacementRef => {
  const { virtualMachine: vm = '', uniqueId: machineId = '', placement: number = 0 } = guest ?? {};
  // The name becomes a path.
  names.virtualMachine.parse(vm, 'guest.virtual_machine');
  if (machineId === '') throw invalid('guest.unique_id must be set', 'guest.unique_id');
  if (number < 0) throw invalid(`guest.placement must be at least 0 (got ${number})`, 'guest.placement');
  return { vm, machineId, number };
};

const sizeOf = (pageSize: number): number => (pageSize > 0 ? Math.min(pageSize, pageMax) : pageMax);

const invalid = (message: string, field: string): Rejection =>
  new Rejection('INVALID_ARGUMENT', 'GUEST_INVALID', message, { field });
