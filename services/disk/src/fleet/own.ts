import { type Category, type EventOf, Rejection } from '@interlock/event-store';
import type { Fleet } from './fleet.ts';

/** Name of the host that has every disk and snapshot whose events name none: they are from before hosts had names. */
export const firstHost = 'disk-0';

/** The index by host of disks and snapshots. */
export const ofHost = (host: string) => ({ index: 'host', value: host }) as const;

/** The index of the disks and snapshots on a host with unfinished work. */
export const unfinishedOn = (host: string) => ({ index: 'unfinished', value: host }) as const;

/** A disk or snapshot. One that is absent has no host. */
type OnHost = { readonly status: 'absent' } | { readonly status: string; readonly host: string };

/** Whether a disk or snapshot names a host. */
export const ofHostIn =
  (host: string) =>
  ({ state }: { readonly state: OnHost }): boolean =>
    'host' in state && state.host === host;

/**
 * Disks or snapshots as one host works on them: the host that has a disk does all work on it, because its files, its DEKs and the
 * serial queue of its work are there. So a disk of another host is refused before any work, and again in each decision: a commit of
 * a host that the disk has left fails. Lists contain the disks of all hosts.
 * @param refusal the refusal of work on a disk of another host; undefined: it is allowed
 */
export const ownStreams = <State extends OnHost, Event extends EventOf>(
  all: Category<State, Event>,
  refusal: (name: string, host: string) => Rejection | undefined,
): Category<State, Event> => {
  const refuseOther = (name: string, state: OnHost): void => {
    const refused = 'host' in state ? refusal(name, state.host) : undefined;
    if (refused) throw refused;
  };
  return {
    ...all,
    async load(name) {
      const loaded = await all.load(name);
      refuseOther(name, loaded.state);
      return loaded;
    },
    transact: (name, decide, cause, options) => {
      const decideOwn = (state: State) => {
        refuseOther(name, state);
        return decide(state);
      };
      return all.transact(name, decideOwn, cause, options);
    },
    transactMany: (streams, decide, cause, options) => {
      const decideOwn = (state: State, name: string, version: number) => {
        refuseOther(name, state);
        return decide(state, name, version);
      };
      return all.transactMany(streams, decideOwn, cause, options);
    },
  };
};

/** What a refusal needs to know of other hosts. */
type KnownHosts = Pick<Fleet, 'isLost' | 'folderOf' | 'leaseOf'>;

/** The refusals of a host: it works on what it has. */
export const refusalOn =
  (self: string, fleet: KnownHosts) =>
  (name: string, host: string): Rejection | undefined => {
    if (host === self) return undefined;
    return fleet.isLost(host) ? lost(name, host) : notHere(name, host, self, fleet);
  };

/**
 * The refusals of a host where work ends: closes, detaches and deletions. What a lost host has can be ended at every host,
 * because nothing serves it any more.
 */
export const refusalToEnd =
  (self: string, fleet: KnownHosts) =>
  (name: string, host: string): Rejection | undefined =>
    host === self || fleet.isLost(host) ? undefined : notHere(name, host, self, fleet);

const lost = (name: string, host: string): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'DISK_HOST_LOST',
    `${name} was on disk host ${host}, which an operator declared lost: it can only be closed, detached and deleted`,
    { resource: name, disk_host: `diskHosts/${host}` },
  );

/** The refusal of a host that has not, or not any more, what is called. `data_address`: where machines read and write it, if that is known. */
export const notHere = (name: string, host: string, self: string, fleet: Omit<KnownHosts, 'isLost'>): Rejection => {
  const folder = fleet.folderOf(host);
  const address = folder === undefined ? '' : (fleet.leaseOf(folder)?.dataAddress ?? '');
  return new Rejection(
    'FAILED_PRECONDITION',
    'DISK_NOT_HERE',
    `${name} is on disk host ${host}, and this is ${self}: call ${host}`,
    { resource: name, disk_host: `diskHosts/${host}`, ...(address === '' ? {} : { data_address: address }) },
  );
};
