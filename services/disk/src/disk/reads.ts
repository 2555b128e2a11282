import type {
  GetDiskRequest,
  ListDisksRequest,
  Disk as WireDisk,
} from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { type Category, type Loaded, Rejection } from '@interlock/event-store';
import {
  type Authorizer,
  type Call,
  names,
  pageToken,
  principalOf,
  requirePermission,
  subscriptionOf,
} from '@interlock/rpc';
import { DomainAttribute } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { Availability, KeyAtHost } from '../fleet/availability.ts';
import type { DiskHost } from '../host/disk-host.ts';
import type { KeyUnavailable } from '../host/keys/key-reasons.ts';
import { listKept, pageOfRequest } from '../listing.ts';
import type { Control } from './control.ts';
import { setOf } from './encryption.ts';
import type { DiskEvent } from './events.ts';
import { type Disk, grantOf } from './state.ts';
import { diskOnWire, keyOf } from './wire.ts';

/** What a read needs of a host. A process without disks has none of it. */
export interface HostView extends Pick<DiskHost, 'allocatedBytes'> {
  /** Whether a running machine keeps the disk through a loss of its key (CMK-102). @param disk as the store has it */
  isPinned(name: string, disk: Disk): boolean;
}

/** What reads of disks need. */
export interface DiskReadParts {
  /** The disks of every host. */
  readonly disks: Pick<Category<Disk, DiskEvent>, 'load' | 'list'>;
  readonly availability: Availability;
  readonly host: Pick<HostView, 'isPinned'>;
  /** Disks as the API shows them, in the same order. */
  readonly show: (disks: readonly Loaded<Disk>[]) => Promise<WireDisk[]>;
  readonly authorize: Authorizer;
}

/** The key on which a disk depends, at its host. An earlier loss does not concern a disk that is open. */
const keyAtHost = ({ state }: Loaded<Disk>): KeyAtHost => {
  if (state.status === 'absent') return { host: '', key: undefined };
  const isOpen = state.status === 'active' && state.access !== null;
  return { host: state.host, key: keyOf(state), opened: isOpen ? grantOf(state) : undefined };
};

/** What showing disks needs. */
type ShownBy = Pick<Control, 'availability' | 'clock'> & {
  readonly fleet: Pick<Control['fleet'], 'conditionOf'>;
  readonly host: HostView;
};

/** @param loss why its data is out of reach */
const shown = async (
  { host, fleet, clock }: ShownBy,
  loaded: Loaded<Disk>,
  loss: KeyUnavailable | undefined,
): Promise<WireDisk> => {
  const { id, state } = loaded;
  const allocatedBytes = 'volume' in state ? await host.allocatedBytes(state.volume.volumeId) : 0;
  return diskOnWire(loaded, { at: clock.now(), loss, isPinned: host.isPinned(id, state), allocatedBytes, fleet });
};

/** A disk as the API shows it. */
export const showDisk = async (by: ShownBy, loaded: Loaded<Disk>): Promise<WireDisk> => {
  const [loss] = await by.availability.lossesOf([keyAtHost(loaded)]);
  return shown(by, loaded, loss);
};

/** Disks as the API shows them, with one read of the losses of other hosts. */
export const showDisks = async (by: ShownBy, disks: readonly Loaded<Disk>[]): Promise<WireDisk[]> => {
  const losses = await by.availability.lossesOf(disks.map(keyAtHost));
  return Promise.all(disks.map((loaded, n) => shown(by, loaded, losses[n])));
};

/** Reads of disks: request in, resources out. */
export const diskReads = (parts: DiskReadParts) => ({
  async getDisk({ name }: GetDiskRequest, call: Call): Promise<WireDisk> {
    await permit(parts, call, 'compute/disks/read', named(name));
    const [shown] = await parts.show([await parts.disks.load(name)]);
    if (shown === undefined) throw new Error(`${name} was not shown`);
    return shown;
  },
  async listDisks(request: ListDisksRequest, call: Call) {
    await permit(parts, call, 'compute/disks/read', scopeOfList(request));
    const { items, next } = await listDisks(parts, request);
    return { disks: await parts.show(items), nextPageToken: pageToken(next) };
  },
});

/** A disk by full name, which the span of the call shows. @throws Rejection INVALID_ARGUMENT NAME_INVALID */
export const named = (name: string): string => {
  names.disk.parse(name, 'name');
  trace.getActiveSpan()?.setAttribute(DomainAttribute.disk, name);
  return name;
};

/** Compute checks the rights of its own caller; every other caller needs the role. */
export const permit = async (
  { authorize }: { readonly authorize: Authorizer },
  call: Call,
  action: string,
  scope: string,
): Promise<void> => {
  const principal = principalOf(call);
  if (principal.workload !== 'compute') await requirePermission(authorize, principal, action, scope);
};

const listDisks = async (
  { disks, availability, host }: Pick<DiskReadParts, 'disks' | 'availability' | 'host'>,
  request: ListDisksRequest,
) => {
  const { parent, diskEncryptionSet: set, keyVersion, unavailableOnly } = request;
  if (parent === '' && set === '' && keyVersion === '') {
    throw missing('parent', 'a subscription or resource group, or another filter in its place');
  }
  if (parent !== '')
    (parent.includes('/resourceGroups/') ? names.resourceGroup : names.subscription).parse(parent, 'parent');
  if (set !== '') names.diskEncryptionSet.parse(set, 'disk_encryption_set');
  if (keyVersion !== '') names.keyVersion.parse(keyVersion, 'key_version');
  // A set has few losses, and perhaps a hundred thousand disks.
  if (unavailableOnly && set !== '' && !(await availability.isAnyLost(set))) return { items: [], next: undefined };
  const index = keyVersion === '' ? { index: 'set', value: set } : { index: 'key_version', value: keyVersion };
  const query = {
    ...pageOfRequest(request),
    ...(set === '' && keyVersion === '' ? {} : { index }),
    ...(parent === '' ? {} : { prefix: `${parent}/` }),
  };
  const isOfSet = ({ state }: Loaded<Disk>): boolean =>
    set === '' || (state.status !== 'absent' && setOf(state.encryption) === set);
  if (!unavailableOnly) return listKept(disks, query, isOfSet);
  return listKept(disks, query, isOfSet, async (page) => {
    const losses = await availability.lossesOf(page.map(keyAtHost));
    return page.filter(({ id, state }, n) => losses[n] !== undefined && !host.isPinned(id, state));
  });
};

/** The scope at which a list of disks needs the permission: its parent, else the subscription of the set, else everything. */
const scopeOfList = ({ parent, diskEncryptionSet }: Pick<ListDisksRequest, 'parent' | 'diskEncryptionSet'>): string =>
  parent || (diskEncryptionSet === '' ? '/' : subscriptionOf(diskEncryptionSet));

/** The refusal of a request without a field that it needs. */
export const missing = (field: string, what: string): Rejection =>
  new Rejection('INVALID_ARGUMENT', 'FIELD_MISSING', `${field} is missing: ${what}`, { field });
