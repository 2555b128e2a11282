import type {
  GetSnapshotRequest,
  ListSnapshotsRequest,
  Snapshot as WireSnapshot,
} from '@interlock/contracts/interlock/disk/v1/snapshot.ts';
import { type Category, type Loaded, Rejection } from '@interlock/event-store';
import { names, pageToken, subscriptionOf } from '@interlock/rpc';
import type { Control } from '../disk/control.ts';
import { setOf } from '../disk/encryption.ts';
import type { HostView } from '../disk/reads.ts';
import type { KeyAtHost } from '../fleet/availability.ts';
import type { KeyUnavailable } from '../host/keys/key-reasons.ts';
import { listKept, pageOfRequest } from '../listing.ts';
import type { Snapshot } from './decider.ts';
import type { SnapshotEvent } from './events.ts';
import { keyOf, snapshotOnWire } from './wire.ts';

/** What reads of snapshots need. */
export interface SnapshotReadParts {
  /** The snapshots of every host. */
  readonly snapshots: Pick<Category<Snapshot, SnapshotEvent>, 'load' | 'list'>;
  /** Snapshots as the API shows them, in the same order. */
  readonly show: (snapshots: readonly Loaded<Snapshot>[]) => Promise<WireSnapshot[]>;
}

/** Reads of snapshots: request in, resources out. */
export const snapshotReads = ({ snapshots, show }: SnapshotReadParts) => ({
  async getSnapshot({ name }: GetSnapshotRequest): Promise<WireSnapshot> {
    const [shown] = await show([await snapshots.load(named(name))]);
    if (shown === undefined) throw new Error(`${name} was not shown`);
    return shown;
  },
  async listSnapshots(request: ListSnapshotsRequest) {
    const { query, set } = queryOf(request);
    const { items, next } = await listKept(
      snapshots,
      query,
      ({ state }) => set === '' || (state.status !== 'absent' && setOf(state.encryption) === set),
    );
    return { snapshots: await show(items), nextPageToken: pageToken(next) };
  },
});

/** A snapshot by full name. @throws Rejection INVALID_ARGUMENT NAME_INVALID */
export const named = (name: string): string => {
  names.snapshot.parse(name, 'name');
  return name;
};

const keyAtHost = ({ state }: Loaded<Snapshot>): KeyAtHost => ({
  host: state.status === 'absent' ? '' : state.host,
  key: keyOf(state),
});

/** What showing snapshots needs. */
type ShownBy = Pick<Control, 'availability'> & {
  readonly fleet: Pick<Control['fleet'], 'conditionOf'>;
  readonly host: Pick<HostView, 'allocatedBytes'>;
};

/** @param loss why its data is out of reach */
const shown = async (
  { host, fleet }: ShownBy,
  loaded: Loaded<Snapshot>,
  loss: KeyUnavailable | undefined,
): Promise<WireSnapshot> => {
  const { state } = loaded;
  const allocatedBytes = 'volume' in state ? await host.allocatedBytes(state.volume.volumeId) : 0;
  return snapshotOnWire(loaded, { loss, allocatedBytes, fleet });
};

/** A snapshot as the API shows it. */
export const showSnapshot = async (by: ShownBy, loaded: Loaded<Snapshot>): Promise<WireSnapshot> => {
  const [loss] = await by.availability.lossesOf([keyAtHost(loaded)]);
  return shown(by, loaded, loss);
};

/** Snapshots as the API shows them, with one read of the losses of other hosts. */
export const showSnapshots = async (by: ShownBy, snapshots: readonly Loaded<Snapshot>[]): Promise<WireSnapshot[]> => {
  const losses = await by.availability.lossesOf(snapshots.map(keyAtHost));
  return Promise.all(snapshots.map((loaded, n) => shown(by, loaded, losses[n])));
};

const queryOf = (request: ListSnapshotsRequest) => {
  const { parent, sourceDisk, diskEncryptionSet: set } = request;
  if (parent === '' && sourceDisk === '' && set === '') {
    throw invalid(
      'FIELD_MISSING',
      'parent',
      'parent is missing: a subscription or resource group, or another filter in its place',
    );
  }
  if (parent !== '')
    (parent.includes('/resourceGroups/') ? names.resourceGroup : names.subscription).parse(parent, 'parent');
  if (sourceDisk !== '') names.disk.parse(sourceDisk, 'source_disk');
  if (set !== '') names.diskEncryptionSet.parse(set, 'disk_encryption_set');
  const index = sourceDisk === '' ? { index: 'set', value: set } : { index: 'source_disk', value: sourceDisk };
  const query = {
    ...pageOfRequest(request),
    ...(sourceDisk === '' && set === '' ? {} : { index }),
    ...(parent === '' ? {} : { prefix: `${parent}/` }),
  };
  return { query, set };
};

/** The scope at which a list of snapshots needs the permission: its parent, else that of its other filter. */
export const scopeOfList = ({
  parent,
  sourceDisk,
  diskEncryptionSet,
}: Pick<ListSnapshotsRequest, 'parent' | 'sourceDisk' | 'diskEncryptionSet'>): string => {
  const filter = sourceDisk || diskEncryptionSet;
  return parent || (filter === '' ? '/' : subscriptionOf(filter));
};

/** The refusal of a field of a request. */
export const invalid = (reason: string, field: string, message: string): Rejection =>
  new Rejection('INVALID_ARGUMENT', reason, message, { field });
