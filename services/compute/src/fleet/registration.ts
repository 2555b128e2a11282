import type { RenewVmHostRequest } from '@interlock/contracts/interlock/compute/v1/vm_host.ts';
import { type Category, type Cause, CursorConflict, Rejection } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import { type FleetVmHost, register } from './decider.ts';
import type { VmHostEvent } from './events.ts';
import { machinesAt } from './machines.ts';
import type { Renewals } from './renewals.ts';
import type { VmHostFleet } from './vm-hosts.ts';

/** What a renewal needs. */
export interface RegistrationParts {
  readonly hosts: Pick<Category<FleetVmHost, VmHostEvent>, 'load' | 'transact'>;
  readonly renewals: Pick<Renewals, 'count' | 'write'>;
  readonly fleet: Pick<VmHostFleet, 'look' | 'saw' | 'isRenewing'>;
  readonly vms: Parameters<typeof machinesAt>[0];
  readonly clock: Pick<Clock, 'now'>;
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Stores the renewal of a host, and registers it with its first one. A lost host is registered again only once it has ended its guests
 * and its machines are off: until then its record stays lost, so that each of them is stopped.
 * @param host short name
 * @returns whether its record is lost
 * @throws Rejection INVALID_ARGUMENT RUN_INVALID, ADDRESS_INVALID, GUEST_CAPACITY_INVALID; FAILED_PRECONDITION VM_HOST_NAME_IN_USE
 */
export const renewHost = async (
  parts: RegistrationParts,
  host: string,
  request: RenewVmHostRequest,
  cause: Cause,
): Promise<boolean> => {
  check(request);
  const { name, run, address, zone, guestCapacity: capacity, isEmpty, isLeaving } = request;
  const { hosts, renewals, fleet, vms, clock } = parts;
  for (;;) {
    const count = await renewals.count(host);
    const newest = await fleet.look(host);
    if (newest !== undefined && newest.run !== run && fleet.isRenewing(host)) throw inUse(name, newest.address);
    const { state } = await hosts.load(host);
    const isLost = state.status === 'lost' && !(isEmpty && (await machinesAt(vms, host).count()) === 0);
    if (!isLost) await hosts.transact(host, register(clock.now()), cause);
    try {
      const given = { run, address, zone, capacity, isLeaving, at: clock.now() };
      fleet.saw(host, await renewals.write(host, count, given, cause));
      return isLost;
    } catch (error) {
      // Another run renewed, or this one did with a call that it has given up.
      if (!(error instanceof CursorConflict)) throw error;
    }
  }
};

const check = ({ run, address, guestCapacity }: RenewVmHostRequest): void => {
  if (!uuid.test(run)) throw invalid('RUN_INVALID', 'run', `must be a UUID in lower case (got ${run || 'none'})`);
  if (!/^[^\s,]+$/.test(address)) {
    throw invalid('ADDRESS_INVALID', 'address', `must be one host:port (got ${address || 'none'})`);
  }
  if (guestCapacity < 1) {
    throw invalid('GUEST_CAPACITY_INVALID', 'guest_capacity', `must be at least 1 (got ${guestCapacity})`);
  }
};

const invalid = (reason: string, field: string, message: string): Rejection =>
  new Rejection('INVALID_ARGUMENT', reason, `${field} ${message}`, { field });

const inUse = (name: string, address: string): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'VM_HOST_NAME_IN_USE',
    `another process renews ${name}, at ${address}: start this one under another name, or try again once the other one has ended`,
    { vm_host: name, address },
  );
