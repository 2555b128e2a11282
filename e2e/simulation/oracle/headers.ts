import { type DiskHeader, readUnverifiedSlot } from '../../../services/disk/src/host/header/disk-header-format.ts';
import type { MemoryVolumeFiles } from '../../../services/disk/src/host/volume/volume-files.ts';

/** Both slots of a header as they lie on storage; undefined for an empty one. */
export type HeaderSlots = readonly [Uint8Array | undefined, Uint8Array | undefined];

/** Headers on storage, and those that events have recorded. */
export interface HeaderTruth {
  /** What one slot says. */
  slot(volumeId: string, sector: number): DiskHeader | undefined;
  /** The header of a volume; where a fault has put an earlier one there, the one that events recorded last. */
  genuine(volumeId: string): DiskHeader | undefined;
  /** Notes the header that lies there, if an event has just recorded the one with that sequence. */
  note(volumeId: string, sequence: number | undefined): void;
  /** Headers that events recorded before the last, oldest first; none where the last was not seen. */
  earlier(volumeId: string): readonly HeaderSlots[];
  /** Notes that a fault has put another header there. */
  noteReplaced(volumeId: string): void;
  /** Whether one ever did, in this history. */
  wasReplaced(volumeId: string): boolean;
  /** Whether that, or another that is not the one recorded last, lies there still. */
  isReplaced(volumeId: string): boolean;
}

/** Headers remembered of a volume. */
const rememberedMax = 8;

/** Sectors are replaced, never changed, so the same object holds the same header, in every history that begins with it. */
const decoded = new WeakMap<Uint8Array, { readonly header: DiskHeader | undefined }>();

export const openHeaderTruth = (volumes: Pick<MemoryVolumeFiles, 'peek'>): HeaderTruth => {
  const recorded = new Map<string, { readonly slots: HeaderSlots; readonly header: DiskHeader }[]>();
  /** Sequences that events recorded last. */
  const latest = new Map<string, number>();
  const replaced = new Set<string>();
  const everReplaced = new Set<string>();

  const slot = (volumeId: string, sector: number): DiskHeader | undefined => {
    const bytes = volumes.peek(volumeId, 'header', sector);
    if (!bytes) return undefined;
    const known = decoded.get(bytes);
    if (known) return known.header;
    const header = readUnverifiedSlot(bytes);
    decoded.set(bytes, { header });
    return header;
  };
  const onStorage = (volumeId: string): DiskHeader | undefined => {
    const [a, b] = [slot(volumeId, 0), slot(volumeId, 1)];
    if (!a || !b) return a ?? b;
    return a.sequence > b.sequence ? a : b;
  };
  const lastOf = (volumeId: string): DiskHeader | undefined => recorded.get(volumeId)?.at(-1)?.header;

  /** A header from before is over as soon as the recorded one is there, or a later one of the service. */
  const isReplaced = (volumeId: string): boolean => {
    if (!replaced.has(volumeId)) return false;
    const isThere = (onStorage(volumeId)?.sequence ?? 0) >= (lastOf(volumeId)?.sequence ?? 0);
    if (isThere) replaced.delete(volumeId);
    return !isThere;
  };

  return {
    slot,
    genuine: (volumeId) => (isReplaced(volumeId) ? lastOf(volumeId) : onStorage(volumeId)),
    note(volumeId, sequence) {
      if (sequence === undefined) return;
      latest.set(volumeId, sequence);
      const header = onStorage(volumeId);
      if (header?.sequence !== sequence || lastOf(volumeId)?.sequence === sequence) return;
      const slots = [volumes.peek(volumeId, 'header', 0), volumes.peek(volumeId, 'header', 1)] as const;
      recorded.set(volumeId, [...(recorded.get(volumeId) ?? []), { slots, header }].slice(-rememberedMax));
    },
    earlier: (volumeId) =>
      lastOf(volumeId)?.sequence === latest.get(volumeId)
        ? (recorded.get(volumeId) ?? []).slice(0, -1).map(({ slots }) => slots)
        : [],
    noteReplaced: (volumeId) => {
      replaced.add(volumeId);
      everReplaced.add(volumeId);
    },
    wasReplaced: (volumeId) => everReplaced.has(volumeId),
    isReplaced,
  };
};
