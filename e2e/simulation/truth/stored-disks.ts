import type { RecordedEvent } from '@interlock/event-store';
import { DiskTruth, type KnownDisk, nameIn } from '@interlock/lab/judge/model/disks';
import type { DiskHeader } from '../../../services/disk/src/host/header/disk-header-format.ts';
import type { MemoryVolumeFiles } from '../../../services/disk/src/host/storage/volume-files.ts';
import type { StorageRecord } from '../faults/storage-record.ts';
import { type HeaderSlots, HeadersOnStorage } from './headers.ts';

/** The disks, and under which key version the header of each really is: read from storage, not from events. */
export class StoredDisks extends DiskTruth {
  readonly #headers: HeadersOnStorage;
  /** By volume: the volumes of its host. */
  readonly #atHost = new Map<string, Pick<MemoryVolumeFiles, 'peek'>>();
  readonly #volumesOf: (host: string) => Pick<MemoryVolumeFiles, 'peek'>;
  readonly #storage: Pick<StorageRecord, 'happenedSince'>;

  constructor(
    nowMs: () => number,
    volumesOf: (host: string) => Pick<MemoryVolumeFiles, 'peek'>,
    storage: Pick<StorageRecord, 'happenedSince'>,
  ) {
    super(nowMs);
    // What is at the host that the disk names.
    this.#headers = new HeadersOnStorage({
      peek: (volumeId, ...place) => this.#atHost.get(volumeId)?.peek(volumeId, ...place),
    });
    this.#volumesOf = volumesOf;
    this.#storage = storage;
  }

  override apply(event: RecordedEvent): void {
    super.apply(event);
    const disk = this.disks.get(nameIn(event.stream));
    if (!disk) return;
    if (!this.#atHost.has(disk.volumeId)) this.#atHost.set(disk.volumeId, this.#volumesOf(disk.host));
    const atReceiver = event.type === 'VolumeMoved' ? this.headerOf(disk)?.sequence : undefined;
    this.#headers.note(disk.volumeId, sequenceIn(event.data) ?? atReceiver);
  }

  /** The version in the header; empty under a platform key, or if no slot is good. */
  override keyVersionOf(disk: KnownDisk): string {
    return disk.set === '' ? '' : (this.headerOf(disk)?.wrap.keyVersion ?? '');
  }

  /** The header on storage; undefined if no slot is valid. If a fault put an earlier one there, the one before the fault. */
  headerOf({ volumeId }: KnownDisk): DiskHeader | undefined {
    return this.#headers.genuine(volumeId);
  }

  /** Earlier headers of this disk, both slots of each, oldest first. */
  earlierHeaders({ volumeId }: KnownDisk): readonly HeaderSlots[] {
    return this.#headers.earlier(volumeId);
  }

  /** Notes that a fault put another header there. */
  noteReplaced({ volumeId }: KnownDisk): void {
    this.#headers.noteReplaced(volumeId);
  }

  /** Whether a fault ever put another header into a volume. */
  wasReplaced(volumeId: string): boolean {
    return this.#headers.wasReplaced(volumeId);
  }

  /** Whether storage still has the header that a fault put there. */
  isReplaced({ volumeId }: KnownDisk): boolean {
    return this.#headers.isReplaced(volumeId);
  }

  /**
   * The version in the other slot of a header whose write failed: only the next write shows which slot counts. Undefined if only
   * one version is possible.
   */
  override otherVersionOf(disk: KnownDisk): string | undefined {
    if (disk.set === '' || !this.#storage.happenedSince(0, 'header', disk.volumeId)) return undefined;
    const now = this.keyVersionOf(disk);
    const versions = [0, 1].map((sector) => this.#headers.slot(disk.volumeId, sector)?.wrap.keyVersion ?? now);
    return versions.find((version) => version !== now);
  }
}

/** The sequence of the header that an event records; undefined if it records none. */
const sequenceIn = (data: RecordedEvent['data']): number | undefined => {
  const { headerSequence, volume } = data as { headerSequence?: number; volume?: { headerSequence: number } };
  return headerSequence ?? volume?.headerSequence;
};
