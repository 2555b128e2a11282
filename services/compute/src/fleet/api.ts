import type {
  DeclareVmHostLostRequest,
  DeleteVmHostRequest,
  DrainVmHostRequest,
  GetVmHostRequest,
  ListVmHostsRequest,
  RenewVmHostRequest,
  ResumeVmHostRequest,
  VmHost as WireVmHost,
} from '@interlock/contracts/interlock/compute/v1/vm_host.ts';
import { type Category, type Cause, type EventStore, type Loaded, Rejection } from '@interlock/event-store';
import { type Call, expectedVersion, names, pageOf, pageToken, principalOf } from '@interlock/rpc';
import { cordon, declareLost, drain, existingHost, type FleetVmHost, remove, resume } from './decider.ts';
import { blockedAt, finishDrain } from './draining.ts';
import type { VmHostEvent } from './events.ts';
import { machinesAt } from './machines.ts';
import { closeHost } from './placement.ts';
import { type RegistrationParts, renewHost } from './registration.ts';
import type { Renewals } from './renewals.ts';
import type { VmHostFleet, VmHostTerms } from './vm-hosts.ts';
import { vmHostOnWire } from './wire.ts';

/** What the API of VM hosts needs. */
export interface VmHostApiParts extends Omit<RegistrationParts, 'hosts' | 'renewals' | 'fleet'> {
  readonly store: Pick<EventStore, 'cursor'>;
  readonly hosts: Category<FleetVmHost, VmHostEvent>;
  readonly renewals: Renewals;
  readonly fleet: VmHostFleet;
  /** Undefined: no host may register. */
  readonly terms: VmHostTerms | undefined;
}

type Caused = Pick<Call, 'cause'>;

/** Hosts of a page if the request names no size. */
const pageSizeDefault = 100;

/** VM hosts as resources: request in, resource out. */
export const vmHostApi = (parts: VmHostApiParts) => {
  const { hosts, fleet, clock, terms } = parts;
  const showNow = async (host: string): Promise<WireVmHost> => show(parts, await hosts.load(host));
  return {
    async getVmHost({ name }: GetVmHostRequest): Promise<WireVmHost> {
      return showNow(hostIn(name));
    },
    async listVmHosts(request: ListVmHostsRequest) {
      const { items, next } = await hosts.list(pageOf({ ...request, pageSize: request.pageSize || pageSizeDefault }));
      const vmHosts = await Promise.all(items.map((loaded) => show(parts, loaded)));
      return { vmHosts, nextPageToken: pageToken(next) };
    },
    async drainVmHost({ name, cordonOnly, etag }: DrainVmHostRequest, { cause }: Caused): Promise<WireVmHost> {
      const host = hostIn(name);
      await closeHost(parts, host, (cordonOnly ? cordon : drain)(clock.now(), name), cause, { etag });
      await finishDrain(parts, host, cause);
      await fleet.refresh();
      return showNow(host);
    },
    async resumeVmHost({ name, etag }: ResumeVmHostRequest, { cause }: Caused): Promise<WireVmHost> {
      const host = hostIn(name);
      await hosts.transact(host, resume(clock.now(), name), cause, expectedVersion(etag));
      await fleet.refresh();
      return showNow(host);
    },
    async declareVmHostLost(
      { name, etag }: DeclareVmHostLostRequest,
      call: Pick<Call, 'cause' | 'caller'>,
    ): Promise<WireVmHost> {
      const host = hostIn(name);
      const decide = declareLost(clock.now(), name, principalOf(call).name);
      await closeHost(parts, host, decide, call.cause, { etag });
      await fleet.refresh();
      return showNow(host);
    },
    async deleteVmHost(request: DeleteVmHostRequest, { cause }: Caused) {
      const host = hostIn(request.name);
      await finishDrain(parts, host, cause);
      await deleteHost(parts, host, request, cause);
      await fleet.refresh();
      return {};
    },
    async renewVmHost(request: RenewVmHostRequest, { cause }: Caused) {
      const host = hostIn(request.name);
      if (terms === undefined) throw unused(request.name);
      return { ttlMs: terms.ttlMs, isLost: await renewHost(parts, host, request, cause) };
    },
  };
};

/** @throws Rejection INVALID_ARGUMENT NAME_INVALID */
const hostIn = (name: string): string => names.vmHost.parse(name, 'name').vmHost;

const show = async (
  { vms, fleet }: Pick<VmHostApiParts, 'vms' | 'fleet'>,
  loaded: Loaded<FleetVmHost>,
): Promise<WireVmHost> => {
  const { id, state } = loaded;
  const [newest, machineCount, blocked] = await Promise.all([
    fleet.look(id),
    machinesAt(vms, id).count(),
    blockedAt(vms, id, state),
  ]);
  return vmHostOnWire(loaded, { newest, isRenewing: fleet.isRenewing(id), machineCount, blocked });
};

/** No machine is placed at a drained or lost host, so what is counted there cannot rise. */
const deleteHost = async (
  parts: VmHostApiParts,
  host: string,
  { name, etag }: DeleteVmHostRequest,
  cause: Cause,
): Promise<void> => {
  const { hosts, renewals, fleet, vms, clock } = parts;
  const { state, version } = await hosts.load(host);
  if (version === 0) existingHost(name, state);
  const decide = remove(clock.now(), name);
  if (decide(state).length === 0) return;
  const machines = await machinesAt(vms, host).count();
  const newest = await fleet.look(host);
  if (machines > 0 || fleet.isRenewing(host)) throw inUse(name, machines);
  const rows = newest === undefined ? [] : [renewals.removal(host, newest)];
  await hosts.transact(host, decide, cause, { expected: version, ...expectedVersion(etag), rows });
};

const inUse = (name: string, machines: number): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'VM_HOST_IN_USE',
    machines > 0
      ? `${machines} machines are on at ${name}: try again once they are off, or at other hosts`
      : `the process of ${name} responds, and would register it again: stop it, and try again once it is UNREACHABLE`,
    { vm_host: name, machines: String(machines) },
  );

const unused = (name: string): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'VM_HOSTS_UNUSED',
    `${name} cannot register, because compute runs the guests itself: start compute with GUEST_DRIVER=hosts`,
    { vm_host: name },
  );
