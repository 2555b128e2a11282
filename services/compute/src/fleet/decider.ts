import { type CategoryDefinition, Rejection, type Stepping, withSteps } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { VmHostEvent } from './events.ts';

/** A VM host that has registered. */
export type RegisteredVmHost = { readonly registeredAt: Instant } & (
  | { readonly status: 'open' }
  | { readonly status: 'cordoned' }
  | { readonly status: 'draining' }
  | { readonly status: 'drained' }
  | { readonly status: 'lost' }
);

/**
 * A VM host of the fleet.
 *
 *   absent ──register──▶ open ──cordon──▶ cordoned ──drain──▶ draining ──no machine on──▶ drained ──delete──▶ absent
 *                        open ──drain──▶ draining ──cordon──▶ cordoned;   cordoned, draining, drained ──resume──▶ open
 *                        each of these ──no renewal, declare lost──▶ lost ──its guests ended──▶ open;   lost ──delete──▶ absent
 *
 * Whether its process responds is no event: it follows from its renewals.
 */
export type FleetVmHost = Stepping & ({ readonly status: 'absent' } | RegisteredVmHost);

type Decision = (host: FleetVmHost) => readonly VmHostEvent[];

const initial: FleetVmHost = { status: 'absent' };

const statusAfter = {
  VmHostCordoned: 'cordoned',
  VmHostDraining: 'draining',
  VmHostDrained: 'drained',
  VmHostOpened: 'open',
  VmHostLost: 'lost',
} as const;

const evolve = (host: FleetVmHost, event: VmHostEvent): FleetVmHost => {
  if (event.type === 'VmHostRegistered') return { status: 'open', registeredAt: event.at };
  if (event.type === 'VmHostDeleted') return initial;
  return host.status === 'absent' ? host : { ...host, status: statusAfter[event.type] };
};

/** What happens because of an event, possibly later: it is lost without renewals, it is emptied, its machines stop. */
const processes: Partial<Readonly<Record<VmHostEvent['type'], readonly string[]>>> = {
  VmHostRegistered: ['serving'],
  VmHostDraining: ['drain'],
  VmHostLost: ['lost'],
};

/** How VM hosts are stored. A category has no hyphen, and `vm_host` is the table of their renewals. */
export const vmHostStreams: CategoryDefinition<FleetVmHost, VmHostEvent> = {
  name: 'vmhost',
  readable: ['by', 'at'],
  stateVersion: 1,
  initial,
  evolve: withSteps(evolve, ({ type }) => processes[type] ?? []),
  isGone: ({ status }) => status === 'absent',
};

/** The host renews: a new one is registered, and so is a lost one. Call it for a lost one only once no guest of it may run. */
export const register =
  (at: Instant): Decision =>
  ({ status }) =>
    status === 'absent' || status === 'lost' ? [{ type: 'VmHostRegistered', at }] : [];

/** Takes nothing new from now on. @throws Rejection NOT_FOUND VM_HOST_NOT_FOUND; FAILED_PRECONDITION VM_HOST_LOST */
export const cordon =
  (at: Instant, name: string): Decision =>
  (host) =>
    ['cordoned', 'drained'].includes(notLost(name, host).status) ? [] : [{ type: 'VmHostCordoned', at }];

/** As `cordon`, and its machines start at other hosts. @throws Rejection as `cordon` */
export const drain =
  (at: Instant, name: string): Decision =>
  (host) =>
    ['draining', 'drained'].includes(notLost(name, host).status) ? [] : [{ type: 'VmHostDraining', at }];

/** No machine is on there. Only a draining host gets none meanwhile. */
export const noteDrained =
  (at: Instant): Decision =>
  ({ status }) =>
    status === 'draining' ? [{ type: 'VmHostDrained', at }] : [];

/** Takes new guests again. @throws Rejection as `cordon` */
export const resume =
  (at: Instant, name: string): Decision =>
  (host) =>
    notLost(name, host).status === 'open' ? [] : [{ type: 'VmHostOpened', at }];

/**
 * The guests of the host are gone, or cannot be waited for.
 * @param by the name of the principal that says so; `''` if the host has not renewed for too long
 * @throws Rejection NOT_FOUND VM_HOST_NOT_FOUND
 */
export const declareLost =
  (at: Instant, name: string, by: string): Decision =>
  (host) =>
    existingHost(name, host).status === 'lost' ? [] : [{ type: 'VmHostLost', by, at }];

/** Removes a host on which no machine is. @throws Rejection FAILED_PRECONDITION VM_HOST_IN_USE */
export const remove =
  (at: Instant, name: string): Decision =>
  ({ status }) => {
    if (status === 'absent') return [];
    if (status === 'drained' || status === 'lost') return [{ type: 'VmHostDeleted', at }];
    throw new Rejection(
      'FAILED_PRECONDITION',
      'VM_HOST_IN_USE',
      `${name} is ${status}: only a drained or lost VM host can be deleted. Drain it first`,
      { vm_host: name, state: status },
    );
  };

/** @throws Rejection NOT_FOUND VM_HOST_NOT_FOUND */
export const existingHost = (name: string, host: FleetVmHost): RegisteredVmHost => {
  if (host.status !== 'absent') return host;
  throw new Rejection('NOT_FOUND', 'VM_HOST_NOT_FOUND', `${name} does not exist`, { vm_host: name });
};

const notLost = (name: string, host: FleetVmHost): RegisteredVmHost => {
  const existing = existingHost(name, host);
  if (existing.status !== 'lost') return existing;
  throw new Rejection(
    'FAILED_PRECONDITION',
    'VM_HOST_LOST',
    `${name} is lost: start its process, which ends its guests and registers it again, or delete it`,
    { vm_host: name },
  );
};
