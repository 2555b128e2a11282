import { type CategoryDefinition, Rejection, type Stepping, withSteps } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { DiskHostEvent } from './events.ts';

/** What a registration records. */
interface Registration {
  /** The folder with its volumes: a process with another folder is not this host. */
  readonly folderId: string;
  readonly registeredAt: Instant;
}

/** A disk host that has registered. */
export type RegisteredHost = Registration &
  (
    | { readonly status: 'open' }
    | { readonly status: 'cordoned' }
    | { readonly status: 'draining' }
    | { readonly status: 'drained' }
    | { readonly status: 'lost' }
  );

/**
 * A disk host of the fleet.
 *
 *   absent ──register──▶ open ──cordon──▶ cordoned ──drain──▶ draining ──nothing left──▶ drained ──delete──▶ absent
 *                        open ──drain──▶ draining ──cordon──▶ cordoned;   cordoned, draining, drained ──resume──▶ open
 *                        each of these ──declare lost──▶ lost ──delete──▶ absent
 *
 * Whether its process responds is no event: it follows from the lease of its folder.
 */
export type FleetHost = Stepping & ({ readonly status: 'absent' } | RegisteredHost);

type Decision = (host: FleetHost) => readonly DiskHostEvent[];

const initial: FleetHost = { status: 'absent' };

const statusAfter = {
  DiskHostCordoned: 'cordoned',
  DiskHostDraining: 'draining',
  DiskHostDrained: 'drained',
  DiskHostOpened: 'open',
  DiskHostLost: 'lost',
} as const;

const evolve = (host: FleetHost, event: DiskHostEvent): FleetHost => {
  if (event.type === 'DiskHostRegistered') return { status: 'open', folderId: event.folderId, registeredAt: event.at };
  if (event.type === 'DiskHostDeleted') return initial;
  return host.status === 'absent' ? host : { ...host, status: statusAfter[event.type] };
};

/** How disk hosts are stored. A category has no hyphen, and `disk_host` is the table of their leases. */
export const diskHosts: CategoryDefinition<FleetHost, DiskHostEvent> = {
  name: 'diskhost',
  readable: ['folderId', 'by', 'at'],
  stateVersion: 1,
  initial,
  evolve: withSteps(evolve, ({ type }) => (type === 'DiskHostDraining' ? ['drain'] : [])),
  isGone: ({ status }) => status === 'absent',
};

/**
 * The process of a host has started with a folder. The first folder is its own for good, because its volumes are there.
 * @param replaced id of a lost folder that this one replaces (`LOST_FOLDER_ID`)
 * @throws Rejection FAILED_PRECONDITION OTHER_HOST_FOLDER
 */
export const register =
  (at: Instant, name: string, folderId: string, replaced: string | undefined): Decision =>
  (host) => {
    const isNew = host.status === 'absent' || (host.status !== 'lost' && host.folderId === replaced);
    if (isNew) return [{ type: 'DiskHostRegistered', folderId, at }];
    if (host.status === 'lost') {
      throw otherFolder(
        `disk host ${name} was declared lost with folder ${host.folderId}: start this process under another DISK_HOST, or delete ${name} once no disk names it`,
        { name, folderId: host.folderId },
      );
    }
    if (host.folderId === folderId) return [];
    throw otherFolder(
      `disk host ${name} has folder ${host.folderId}, and this process has ${folderId}: start it with that folder, or under another DISK_HOST`,
      { name, folderId: host.folderId },
    );
  };

/** Takes nothing new from now on. @throws Rejection NOT_FOUND DISK_HOST_NOT_FOUND; FAILED_PRECONDITION DISK_HOST_LOST */
export const cordon =
  (at: Instant, name: string): Decision =>
  (host) =>
    ['cordoned', 'drained'].includes(notLost(name, host).status) ? [] : [{ type: 'DiskHostCordoned', at }];

/** As `cordon`, and the host is drained once nothing is left there. @throws Rejection as `cordon` */
export const drain =
  (at: Instant, name: string): Decision =>
  (host) =>
    ['draining', 'drained'].includes(notLost(name, host).status) ? [] : [{ type: 'DiskHostDraining', at }];

/** No disk and no snapshot names the host any more. Only a draining host gets none meanwhile. */
export const noteDrained =
  (at: Instant): Decision =>
  ({ status }) =>
    status === 'draining' ? [{ type: 'DiskHostDrained', at }] : [];

/** Takes new disks again. @throws Rejection as `cordon` */
export const resume =
  (at: Instant, name: string): Decision =>
  (host) =>
    notLost(name, host).status === 'open' ? [] : [{ type: 'DiskHostOpened', at }];

/**
 * The folder of the host is lost for good.
 * @param by the name of the principal that says so
 * @throws Rejection NOT_FOUND DISK_HOST_NOT_FOUND; INVALID_ARGUMENT FOLDER_ID_MISMATCH
 */
export const declareLost =
  (at: Instant, name: string, folderId: string, by: string): Decision =>
  (host) => {
    const { status, folderId: own } = existingHost(name, host);
    if (own !== folderId) {
      throw new Rejection(
        'INVALID_ARGUMENT',
        'FOLDER_ID_MISMATCH',
        `folder_id must be ${own}, the folder of ${name} (got ${folderId === '' ? 'none' : folderId}): its disks can only be deleted afterwards`,
        { field: 'folder_id', folder_id: own },
      );
    }
    return status === 'lost' ? [] : [{ type: 'DiskHostLost', by, at }];
  };

/** Removes a host that has nothing any more. @throws Rejection FAILED_PRECONDITION DISK_HOST_IN_USE */
export const remove =
  (at: Instant, name: string): Decision =>
  ({ status }) => {
    if (status === 'absent') return [];
    if (status === 'drained' || status === 'lost') return [{ type: 'DiskHostDeleted', at }];
    throw new Rejection(
      'FAILED_PRECONDITION',
      'DISK_HOST_IN_USE',
      `${name} is ${status}: only a drained or lost disk host can be deleted. Drain it first`,
      { disk_host: name, state: status },
    );
  };

/** @throws Rejection NOT_FOUND DISK_HOST_NOT_FOUND */
export const existingHost = (name: string, host: FleetHost): RegisteredHost => {
  if (host.status !== 'absent') return host;
  throw new Rejection('NOT_FOUND', 'DISK_HOST_NOT_FOUND', `${name} does not exist`, { disk_host: name });
};

const notLost = (name: string, host: FleetHost): RegisteredHost => {
  const existing = existingHost(name, host);
  if (existing.status !== 'lost') return existing;
  throw new Rejection(
    'FAILED_PRECONDITION',
    'DISK_HOST_LOST',
    `${name} was declared lost: its disks can be deleted, and then the disk host`,
    { disk_host: name },
  );
};

const otherFolder = (message: string, { name, folderId }: { readonly name: string; readonly folderId: string }) =>
  new Rejection('FAILED_PRECONDITION', 'OTHER_HOST_FOLDER', message, { disk_host: name, folder_id: folderId });
