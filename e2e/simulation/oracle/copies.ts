import type { RecordedEvent } from '@interlock/event-store';
import type { DiskEvent } from '../../../services/disk/src/disk/events.ts';
import type { SnapshotEvent } from '../../../services/disk/src/snapshot/events.ts';
import type { Capture, DiskContent } from './content.ts';
import type { DiskTruth, KnownDisk } from './disks.ts';

/** A copy of a disk or snapshot that is made: a snapshot, a disk, or the new volume of a disk that gets other encryption. */
export interface CopyUnderWay {
  /** What is made of it; of a change of encryption the disk itself. */
  readonly name: string;
  /** Where the copy lies. */
  readonly volumeId: string;
  /** Name of what is copied. */
  readonly from: string;
  /** That as it was when the copy was begun; undefined when it was gone already. */
  readonly source: KnownDisk | undefined;
  /** What the copy may hold: what its source held at any moment since it was begun. */
  readonly capture: Capture;
}

/** A copy that was recorded. */
export interface MadeCopy extends Pick<CopyUnderWay, 'name' | 'source'> {
  readonly target: KnownDisk;
  readonly content: DiskContent;
}

/** Which copies are made, as the events of the disk service have it. */
export interface CopyTruth {
  /** By volume. */
  readonly underWay: ReadonlyMap<string, CopyUnderWay>;
  /** Call it with each event of the disk service, after the truth about disks knows it. @returns the copy that it records */
  apply(event: RecordedEvent): MadeCopy | undefined;
  /** Whether a copy of a disk was under way at that true time or since: writers of the disk wait meanwhile. */
  heldWritersSince(disk: string, sinceMs: number): boolean;
}

/** An event with which a copy begins: of what, and onto which volume. Asked of every event of the service. */
export const beginningOf = ({
  stream,
  type,
  data,
}: RecordedEvent): { readonly from: string; readonly volumeId: string } | undefined => {
  if (type !== 'SnapshotCreating' && type !== 'EncryptionChanging' && type !== 'DiskCreating') return undefined;
  const event = { type, ...data } as unknown as Beginning;
  if (event.type === 'SnapshotCreating') return { from: event.sourceDisk, volumeId: event.volumeId };
  if (event.type === 'EncryptionChanging') return { from: nameIn(stream), volumeId: event.volumeId };
  return event.source === '' ? undefined : { from: event.source, volumeId: event.volumeId };
};
type Beginning = Extract<
  DiskEvent | SnapshotEvent,
  { type: 'SnapshotCreating' | 'EncryptionChanging' | 'DiskCreating' }
>;

/** Events with which a copy of the stream has ended, well or not; for a change of encryption also one that needed none. */
const endings: ReadonlySet<string> = new Set<(DiskEvent | SnapshotEvent)['type']>([
  'SnapshotCreated',
  'SnapshotCreateFailed',
  'DiskCreated',
  'DiskCreateFailed',
  'DiskEncryptionChanged',
  'EncryptionChangeFailed',
]);
export const isEndOfCopy = ({ type }: RecordedEvent): boolean => endings.has(type);

const nameIn = (stream: string): string => stream.slice(stream.indexOf('-') + 1);

export const openCopyTruth = (parts: {
  readonly nowMs: () => number;
  readonly disks: DiskTruth;
  readonly contentOf: (name: string) => DiskContent;
}): CopyTruth => {
  const { nowMs, disks, contentOf } = parts;
  const underWay = new Map<string, CopyUnderWay>();
  /** By the name of what is made: a name has one copy at a time. */
  const byName = new Map<string, CopyUnderWay>();
  /** When the last copy of a disk ended. */
  const endedMs = new Map<string, number>();

  const begin = (name: string, { from, volumeId }: { readonly from: string; readonly volumeId: string }): void => {
    const source = disks.disks.get(from);
    const copy = { name, volumeId, from, source: source && { ...source }, capture: contentOf(from).beginCapture() };
    underWay.set(volumeId, copy);
    byName.set(name, copy);
  };

  const end = (name: string): MadeCopy | undefined => {
    const copy = byName.get(name);
    if (!copy) return undefined;
    byName.delete(name);
    underWay.delete(copy.volumeId);
    endedMs.set(copy.from, nowMs());
    const content = contentOf(copy.from).endCapture(copy.capture);
    const target = disks.disks.get(name);
    // A change of encryption that needed no copy, or a copy that failed, left the volume unused.
    if (target?.volumeId !== copy.volumeId) return undefined;
    return { name, source: copy.source, target, content };
  };

  return {
    underWay,
    apply(event) {
      const begun = beginningOf(event);
      if (begun) begin(nameIn(event.stream), begun);
      return isEndOfCopy(event) ? end(nameIn(event.stream)) : undefined;
    },
    heldWritersSince(disk, sinceMs) {
      if ((endedMs.get(disk) ?? Number.NEGATIVE_INFINITY) >= sinceMs) return true;
      for (const { from } of underWay.values()) if (from === disk) return true;
      return false;
    },
  };
};
