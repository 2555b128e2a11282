import type { RecordedEvent } from '@interlock/event-store';
import { type DiskSku, type ReadDiskEvent, type ReadSnapshotEvent, setOf } from '../events/disk.ts';
import { readEvent } from '../events/recorded.ts';

/** Who may read and write a disk. */
export interface OpenAccess {
  readonly by: 'machine' | 'user';
  readonly attachEpoch: number;
  /** True time of the commit. */
  readonly atMs: number;
  /** When the unwrap that decided it was sent. A later loss may be newer than the open; an earlier one is not. */
  readonly requestedMs: number;
}

/** A disk or snapshot that exists. */
export interface KnownDisk {
  readonly name: string;
  readonly isSnapshot: boolean;
  readonly sku: DiskSku | undefined;
  /** Unique name of the disk host that has it. */
  host: string;
  /** Empty under a platform key. */
  set: string;
  /** The key version of its data key, as events record it; empty under a platform key. */
  keyVersion: string;
  volumeId: string;
  /** Volumes at other hosts that a move in progress makes, or that moves have left, until they are removed: `<host> <volume id>`. */
  readonly elsewhere: Set<string>;
  attachedTo: string;
  open: OpenAccess | undefined;
  /** The last open that ended: an operation requested under it may complete just after. */
  closed: (OpenAccess & { readonly closedMs: number }) | undefined;
  /** When its data key was last moved to another version or set. */
  movedAtMs: number;
  isDeleting: boolean;
  /** Between two sets: its header may be under a key of either. */
  isChanging: boolean;
}

/** The host of disks whose events name none. */
const firstHost = 'disk-0';

/** Name of the resource of a stream. */
export const nameIn = (stream: string): string => stream.slice(stream.indexOf('-') + 1);

/** The existing disks and snapshots, their opens and their key versions, from the events of the disk service. */
export class DiskTruth {
  readonly #disks = new Map<string, KnownDisk>();
  /** When the last unwrap of each disk's data key was sent. */
  readonly #unwraps = new Map<string, number>();
  /** The host of each disk and snapshot, from the moment its creation began. */
  readonly #hosts = new Map<string, string>();
  /** The hosts that each has moved from, and when; the last one at the end. */
  readonly #left = new Map<string, readonly { readonly host: string; readonly atMs: number }[]>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  get disks(): ReadonlyMap<string, KnownDisk> {
    return this.#disks;
  }

  /** The version that wraps a disk's data key; empty under a platform key. */
  keyVersionOf(disk: KnownDisk): string {
    return disk.set === '' ? '' : disk.keyVersion;
  }

  /** A second version under which the data key may be; none here, because events record one. */
  otherVersionOf(_disk: KnownDisk): string | undefined {
    return undefined;
  }

  /** The host that a disk or snapshot had at that true time; of several moves since, the host before the last. */
  hostAt(name: string, atMs: number): string {
    const left = this.#left.get(name)?.at(-1);
    return left !== undefined && left.atMs >= atMs ? left.host : this.hostOf(name);
  }

  /** Every host that a disk or snapshot has had. */
  hostsOf(name: string): ReadonlySet<string> {
    return new Set([...(this.#left.get(name) ?? []).map(({ host }) => host), this.hostOf(name)]);
  }

  /** Unique name of the host of a disk or snapshot that exists, or is being made. */
  hostOf(name: string): string {
    return this.#hosts.get(name) ?? firstHost;
  }

  /** Notes that the vault unwrapped a disk's data key; `sentMs`: when the request was sent. */
  noteUnwrap(name: string, sentMs: number): void {
    this.#unwraps.set(name, sentMs);
  }

  apply(recorded: RecordedEvent): void {
    const event = readEvent<ReadDiskEvent | ReadSnapshotEvent>(recorded);
    const name = nameIn(recorded.stream);
    if (event.type === 'DiskCreating' || event.type === 'SnapshotCreating')
      this.#hosts.set(name, event.host ?? firstHost);
    if (event.type === 'DiskCreated' || event.type === 'SnapshotCreated') {
      this.#disks.set(name, {
        name,
        isSnapshot: event.type === 'SnapshotCreated',
        sku: event.type === 'DiskCreated' ? event.sku : undefined,
        host: this.hostOf(name),
        set: setOf(event.encryption),
        keyVersion: event.keyVersion,
        volumeId: event.volume.volumeId,
        elsewhere: new Set(),
        attachedTo: '',
        open: undefined,
        closed: undefined,
        movedAtMs: this.#nowMs(),
        isDeleting: false,
        isChanging: false,
      });
      return;
    }
    const disk = this.#disks.get(name);
    if (!disk) return;
    this.#applyAccess(disk, event);
    this.#applyKey(disk, event);
    this.#applyMove(disk, event);
    if (event.type === 'DiskDeleting' || event.type === 'SnapshotDeleting') disk.isDeleting = true;
    else if (event.type === 'DiskDeleted' || event.type === 'SnapshotDeleted') this.#disks.delete(name);
  }

  #applyMove(disk: KnownDisk, event: ReadDiskEvent | ReadSnapshotEvent): void {
    if (event.type === 'VolumeMoving') disk.elsewhere.add(`${event.host} ${event.volumeId}`);
    if (event.type === 'FormerVolumeRemoved')
      for (const one of disk.elsewhere) if (one.endsWith(` ${event.volumeId}`)) disk.elsewhere.delete(one);
    if (event.type !== 'VolumeMoved') return;
    disk.elsewhere.delete(`${event.host} ${event.volumeId}`);
    disk.elsewhere.add(`${disk.host} ${disk.volumeId}`);
    const left = this.#left.get(disk.name) ?? [];
    this.#left.set(disk.name, [...left, { host: disk.host, atMs: this.#nowMs() }]);
    disk.host = event.host;
    disk.volumeId = event.volumeId;
    this.#hosts.set(disk.name, event.host);
  }

  #applyAccess(disk: KnownDisk, event: ReadDiskEvent | ReadSnapshotEvent): void {
    const atMs = this.#nowMs();
    const requestedMs = this.#unwraps.get(disk.name) ?? atMs;
    switch (event.type) {
      case 'DiskAttached':
        disk.attachedTo = event.virtualMachine;
        return;
      case 'DiskOpened':
        disk.open = { by: 'machine', attachEpoch: event.attachEpoch, atMs, requestedMs };
        return;
      case 'AccessBegun':
        disk.open = { by: 'user', attachEpoch: event.attachEpoch, atMs, requestedMs };
        return;
      case 'DiskClosed':
      case 'AccessEnded':
      case 'DiskDetached':
        if (disk.open) disk.closed = { ...disk.open, closedMs: atMs };
        disk.open = undefined;
        if (event.type === 'DiskDetached') disk.attachedTo = '';
        return;
    }
  }

  #applyKey(disk: KnownDisk, event: ReadDiskEvent | ReadSnapshotEvent): void {
    switch (event.type) {
      case 'EncryptionChanging':
        disk.isChanging = true;
        return;
      case 'EncryptionChangeFailed':
        disk.isChanging = false;
        return;
      case 'DiskEncryptionChanged':
        disk.isChanging = false;
        disk.set = setOf(event.encryption);
        disk.volumeId = event.volume.volumeId;
        disk.keyVersion = event.keyVersion;
        disk.movedAtMs = this.#nowMs();
        return;
      case 'DekRewrapped':
      case 'SnapshotDekRewrapped':
        disk.keyVersion = event.keyVersion;
        disk.movedAtMs = this.#nowMs();
        return;
    }
  }
}
