import { type VmHost_State, VmHost as WireVmHost } from '@interlock/contracts/interlock/compute/v1/vm_host.ts';
import type { Loaded } from '@interlock/event-store';
import { vmHostName } from './choice.ts';
import { existingHost, type FleetVmHost, type RegisteredVmHost } from './decider.ts';
import type { Renewal } from './renewals.ts';

/** Machines that stay on a draining host because a lost key would fail their next start: how many, and the first names. */
export interface BlockedMachines {
  readonly count: number;
  readonly names: readonly string[];
}

/** What is known of a host besides its record. */
export interface VmHostFindings {
  /** Its newest renewal; undefined before the first is stored. */
  readonly newest: Renewal | undefined;
  readonly isRenewing: boolean;
  /** Machines that are on there. */
  readonly machineCount: number;
  readonly blocked: BlockedMachines;
}

/** A VM host as the API shows it. @throws Rejection NOT_FOUND VM_HOST_NOT_FOUND */
export const vmHostOnWire = ({ id, state, version }: Loaded<FleetVmHost>, findings: VmHostFindings): WireVmHost => {
  const name = vmHostName(id);
  const { status, registeredAt } = existingHost(name, state);
  const { newest, isRenewing, machineCount, blocked } = findings;
  return WireVmHost.fromPartial({
    name,
    state: states[status],
    liveness: isRenewing ? 'SERVING' : 'UNREACHABLE',
    zone: newest?.zone ?? '',
    address: newest?.address ?? '',
    guestCapacity: newest?.capacity ?? 0,
    machineCount,
    createTime: new Date(registeredAt),
    ...(newest === undefined ? {} : { renewTime: new Date(newest.at) }),
    etag: String(version),
    blockedMachineCount: blocked.count,
    blockedMachines: [...blocked.names],
  });
};

const states = {
  open: 'OPEN',
  cordoned: 'CORDONED',
  draining: 'DRAINING',
  drained: 'DRAINED',
  lost: 'LOST',
} as const satisfies Record<RegisteredVmHost['status'], VmHost_State>;
