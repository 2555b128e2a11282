import type { RecordedEvent } from '@interlock/event-store';
import type { ReadDiskEvent, ReadSnapshotEvent } from '../events/disk.ts';
import { readEvent } from '../events/recorded.ts';
import type { Capture, DiskContent } from './content.ts';
import { type DiskTruth, type KnownDisk, nameIn } from './disks.ts';

/** A copy of a disk or snapshot in progress: a snapshot, a disk, or the new volume of a disk whose encryption changes. */
export interface CopyUnderWay {
  /** The target; for a change of encryption the disk itself. */
  readonly name: string;
  /** Volume of the copy. */
  readonly volumeId: string;
  /** Name of the source. */
  readonly from: string;
  /** The source at the start of the copy; undefined if it was already deleted. */
  readonly source: KnownDisk | undefined;
  /** What the copy may hold: what its source held at any moment since its start. */
  readonly capture: Capture;
}

/** A copy that was recorded. */
export interface MadeCopy extends Pick<CopyUnderWay, 'name' | 'source'> {
  readonly target: KnownDisk;
  readonly content: DiskContent;
}

/** Source and target volume of an event that starts a copy; undefined for any other event of the disk service. */
export const beginningOf = (
  recorded: RecordedEvent,
): { readonly from: string; readonly volumeId: string } | undefined => {
  const event = readEvent<ReadDiskEvent | ReadSnapshotEvent>(recorded);
  switch (event.type) {
    case 'SnapshotCreating':
      return { from: event.sourceDisk, volumeId: event.volumeId };
    case 'EncryptionChanging':
      return { from: nameIn(recorded.stream), volumeId: event.volumeId };
    case 'DiskCreating':
      return event.source === '' ? undefined : { from: event.source, volumeId: event.volumeId };
    default:
      return undefined;
  }
};

/**
 * Events that end a copy of the stream, successful or not; also the end of a change of encryption that needed no copy. A change
 * without an outcome may end with the disk.
 */
const endings: ReadonlySet<string> = new Set<(ReadDiskEvent | ReadSnapshotEvent)['type']>([
  'SnapshotCreated',
  'SnapshotCreateFailed',
  'DiskCreated',
  'DiskCreateFailed',
  'DiskEncryptionChanged',
  'EncryptionChangeFailed',
  'DiskDeleting',
]);

export const isEndOfCopy = ({ type }: RecordedEvent): boolean => endings.has(type);

/** Which copies are in progress, by the events of the disk service. */
export class CopyTruth {
  /** By volume. */
  readonly #underWay = new Map<string, CopyUnderWay>();
  /** By the name of the target: a name has one copy at a time. */
  readonly #byName = new Map<string, CopyUnderWay>();
  /** When the last copy of a disk ended. */
  readonly #endedMs = new Map<string, number>();
  readonly #nowMs: () => number;
  readonly #disks: Pick<DiskTruth, 'disks'>;
  readonly #contentOf: (name: string) => DiskContent;

  constructor(parts: {
    readonly nowMs: () => number;
    readonly disks: Pick<DiskTruth, 'disks'>;
    readonly contentOf: (name: string) => DiskContent;
  }) {
    this.#nowMs = parts.nowMs;
    this.#disks = parts.disks;
    this.#contentOf = parts.contentOf;
  }

  /** By volume. */
  get underWay(): ReadonlyMap<string, CopyUnderWay> {
    return this.#underWay;
  }

  /** Applies an event of the disk service that `DiskTruth` has applied. @returns the copy that it records */
  apply(event: RecordedEvent): MadeCopy | undefined {
    const beginning = beginningOf(event);
    if (beginning) this.#begin(nameIn(event.stream), beginning);
    return isEndOfCopy(event) ? this.#end(nameIn(event.stream)) : undefined;
  }

  /** Whether a copy of a disk was in progress at that true time or since: writers of the disk wait for it. */
  heldWritersSince(disk: string, sinceMs: number): boolean {
    if ((this.#endedMs.get(disk) ?? Number.NEGATIVE_INFINITY) >= sinceMs) return true;
    for (const { from } of this.#underWay.values()) if (from === disk) return true;
    return false;
  }

  #begin(name: string, { from, volumeId }: { readonly from: string; readonly volumeId: string }): void {
    const source = this.#disks.disks.get(from);
    const capture = this.#contentOf(from).beginCapture();
    const copy = { name, volumeId, from, source: source && { ...source }, capture };
    this.#underWay.set(volumeId, copy);
    this.#byName.set(name, copy);
  }

  #end(name: string): MadeCopy | undefined {
    const copy = this.#byName.get(name);
    if (!copy) return undefined;
    this.#byName.delete(name);
    this.#underWay.delete(copy.volumeId);
    this.#endedMs.set(copy.from, this.#nowMs());
    const content = this.#contentOf(copy.from).endCapture(copy.capture);
    const target = this.#disks.disks.get(name);
    // A change of encryption that needed no copy, or a failed copy, did not use the volume.
    if (target?.volumeId !== copy.volumeId) return undefined;
    return { name, source: copy.source, target, content };
  }
}
