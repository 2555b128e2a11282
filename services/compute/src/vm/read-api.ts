import type { ListActivityLogRequest } from '@interlock/contracts/interlock/compute/v1/activity_log.ts';
import type { ReadGuestJournalRequest } from '@interlock/contracts/interlock/compute/v1/guest_journal.ts';
import type { GetInstanceViewRequest } from '@interlock/contracts/interlock/compute/v1/instance_view.ts';
import type {
  GetVirtualMachineRequest,
  ListVirtualMachinesRequest,
  VirtualMachine,
  WatchVirtualMachineRequest,
} from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import { type Category, type EventStore, type Loaded, Rejection } from '@interlock/event-store';
import { type Call, names, pageOf, pageToken } from '@interlock/rpc';
import { pageOnWire } from '../guests/guest-wire.ts';
import { type Guests, HostAway, machineAt } from '../guests/guests.ts';
import type { JournalPage } from '../guests/vm-host.ts';
import { currentLosses } from '../losses/current-losses.ts';
import type { Losses } from '../losses/losses.ts';
import { activityLogOf } from './activity-log.ts';
import { changesOf } from './changes.ts';
import type { VmEvent } from './events.ts';
import { instanceViewOf } from './instance-view.ts';
import { notFound } from './operations.ts';
import type { Vm } from './state.ts';
import { guestIoOnWire, powerOf, shown, vmOnWire } from './wire.ts';

/** Entries of a page if the request names no size. */
const pageSizeDefault = 100;
/** Operations of a page of a guest's journal if the request names no size. */
const operationsDefault = 1_000;

interface ReadParts {
  readonly store: EventStore;
  readonly vms: Category<Vm, VmEvent>;
  readonly losses: Pick<Losses, 'of'>;
  readonly guests: Pick<Guests, 'ioOf' | 'journalOf'>;
}

/** What users see of machines. Never needs a key (CMK-109). */
export const readApi = (parts: ReadParts) => ({
  async getVirtualMachine({ name }: GetVirtualMachineRequest) {
    return withGuestIo(parts, await load(parts, name));
  },
  listVirtualMachines: (request: ListVirtualMachinesRequest) => listMachines(parts, request),
  async getInstanceView({ name }: GetInstanceViewRequest) {
    const loaded = await load(parts, name);
    return instanceViewOf(loaded, (await currentLosses(parts.losses, [loaded]))(loaded));
  },
  readGuestJournal: (request: ReadGuestJournalRequest) => readGuestJournal(parts, request),
  async listActivityLog(request: ListActivityLogRequest) {
    names.virtualMachine.parse(request.name, 'name');
    const { limit, after } = page(request);
    const recorded = await parts.store.read(`${parts.vms.definition.name}-${request.name}`);
    if (recorded.length === 0) throw notFound(request.name);
    const rest = activityLogOf(request.name, recorded).filter(({ name }) => after === undefined || name > after);
    const entries = rest.slice(0, limit);
    return { entries, nextPageToken: pageToken(rest.length > limit ? entries.at(-1)?.name : undefined) };
  },
  async *watchVirtualMachine({ name }: WatchVirtualMachineRequest, { signal }: Call) {
    vmOnWire(await load(parts, name));
    for await (const loaded of changesOf(parts, name, signal)) {
      if (loaded.state.status !== 'creating' && loaded.state.status !== 'active') return;
      yield await withGuestIo(parts, loaded);
    }
  },
});

const readGuestJournal = async (parts: ReadParts, { name, after, pageSize }: ReadGuestJournalRequest) => {
  const { limit } = pageOf({ pageSize: pageSize || operationsDefault, pageToken: '' });
  const loaded = await load(parts, name);
  shown(loaded);
  const { state } = loaded;
  const page =
    state.status === 'active' ? await journalOf(parts.guests, machineAt(name, state), after, limit) : undefined;
  return pageOnWire(page ?? { entries: [], readTo: '', isEnd: true, hasGap: after !== '' });
};

/** @throws Rejection UNAVAILABLE VM_HOST_UNREACHABLE */
const journalOf = async (
  guests: ReadParts['guests'],
  machine: Parameters<Guests['journalOf']>[0],
  after: string,
  limit: number,
): Promise<JournalPage | undefined> => {
  try {
    return await guests.journalOf(machine, after, limit);
  } catch (error) {
    if (!(error instanceof HostAway)) throw error;
    throw new Rejection(
      'UNAVAILABLE',
      'VM_HOST_UNREACHABLE',
      `${error.host}, which has the journal of ${machine.vm}, does not respond: try again when it does`,
      { vm_host: error.host },
      { cause: error },
    );
  }
};

const load = (parts: ReadParts, name: string): Promise<Loaded<Vm>> => {
  names.virtualMachine.parse(name, 'name');
  return parts.vms.load(name);
};

const page = (request: { readonly pageSize: number; readonly pageToken: string }) =>
  pageOf({ ...request, pageSize: request.pageSize || pageSizeDefault });

const withGuestIo = async (parts: ReadParts, loaded: Loaded<Vm>): Promise<VirtualMachine> => ({
  ...vmOnWire(loaded, (await currentLosses(parts.losses, [loaded]))(loaded)),
  ...(await guestIoOf(parts, loaded)),
});

const guestIoOf = async (
  { guests }: ReadParts,
  { id, state }: Loaded<Vm>,
): Promise<Partial<Pick<VirtualMachine, 'guestIo'>>> => {
  if (state.status !== 'active') return {};
  const guestIo = guestIoOnWire(await guests.ioOf(machineAt(id, state)), state.mismatches);
  return guestIo === undefined ? {} : { guestIo };
};

const listMachines = async (parts: ReadParts, request: ListVirtualMachinesRequest) => {
  const { vms, losses } = parts;
  const prefix = prefixOf(request.parent);
  const { limit, after: first } = page(request);
  const isListed = (loaded: Loaded<Vm>): boolean =>
    request.powerState === 'POWER_STATE_UNSPECIFIED' || powerOf(shown(loaded)) === request.powerState;
  const found: Loaded<Vm>[] = [];
  let after = first;
  do {
    const { items, next } = await vms.list({ prefix, limit: limit - found.length, ...(after && { after }) });
    found.push(...items.filter(isListed));
    after = next;
  } while (after !== undefined && found.length < limit);
  const lossesOf = await currentLosses(losses, found);
  const isFull = request.view === 'FULL';
  const onWire = async (loaded: Loaded<Vm>): Promise<VirtualMachine> => ({
    ...vmOnWire(loaded, lossesOf(loaded)),
    ...(isFull ? { instanceView: instanceViewOf(loaded, lossesOf(loaded)), ...(await guestIoOf(parts, loaded)) } : {}),
  });
  return { virtualMachines: await Promise.all(found.map(onWire)), nextPageToken: pageToken(after) };
};

/** The prefix of the names of machines under a parent. @throws Rejection INVALID_ARGUMENT NAME_INVALID */
const prefixOf = (parent: string): string => {
  if (parent.includes('/resourceGroups/')) {
    names.resourceGroup.parse(parent, 'parent');
    return `${parent}/virtualMachines/`;
  }
  names.subscription.parse(parent, 'parent');
  return `${parent}/resourceGroups/`;
};
