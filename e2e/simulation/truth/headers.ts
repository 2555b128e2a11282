import { type DiskHeader, readUnverifiedSlot } from '../../../services/disk/src/host/header/disk-header-format.ts';
import type { MemoryVolumeFiles } from '../../../services/disk/src/host/storage/volume-files.ts';

/** Both slots of a header on storage; undefined for an empty one. */
export type HeaderSlots = readonly [Uint8Array | undefined, Uint8Array | undefined];

/** Headers remembered of a volume. */
const rememberedMax = 8;

/** Sectors are replaced, never changed: the same object holds the same header, in every history that starts with it. */
const decoded = new WeakMap<Uint8Array, { readonly header: DiskHeader | undefined }>();

/** Headers on storage, and those that events recorded. */
export class HeadersOnStorage {
  readonly #volumes: Pick<MemoryVolumeFiles, 'peek'>;
  readonly #recorded = new Map<string, { readonly slots: HeaderSlots; readonly header: DiskHeader }[]>();
  /** Sequences that events recorded last. */
  readonly #latest = new Map<string, number>();
  readonly #replaced = new Set<string>();

  constructor(volumes: Pick<MemoryVolumeFiles, 'peek'>) {
    this.#volumes = volumes;
  }

  /** Content of one slot. */
  slot(volumeId: string, sector: number): DiskHeader | undefined {
    const bytes = this.#volumes.peek(volumeId, 'header', sector);
    if (!bytes) return undefined;
    const known = decoded.get(bytes);
    if (known) return known.header;
    const header = readUnverifiedSlot(bytes);
    decoded.set(bytes, { header });
    return header;
  }

  /** The header of a volume. If a fault put an earlier one there, the one that events recorded last. */
  genuine(volumeId: string): DiskHeader | undefined {
    return this.isReplaced(volumeId) ? this.#lastOf(volumeId) : this.#onStorage(volumeId);
  }

  /** Notes the header on storage, if an event has just recorded the header with that sequence. */
  note(volumeId: string, sequence: number | undefined): void {
    if (sequence === undefined) return;
    this.#latest.set(volumeId, sequence);
    const header = this.#onStorage(volumeId);
    if (header?.sequence !== sequence || this.#lastOf(volumeId)?.sequence === sequence) return;
    const slots = [this.#volumes.peek(volumeId, 'header', 0), this.#volumes.peek(volumeId, 'header', 1)] as const;
    const before = this.#recorded.get(volumeId) ?? [];
    this.#recorded.set(volumeId, [...before, { slots, header }].slice(-rememberedMax));
  }

  /** Headers that events recorded before the last, oldest first; none if the last was not seen. */
  earlier(volumeId: string): readonly HeaderSlots[] {
    if (this.#lastOf(volumeId)?.sequence !== this.#latest.get(volumeId)) return [];
    return (this.#recorded.get(volumeId) ?? []).slice(0, -1).map(({ slots }) => slots);
  }

  /** Notes that a fault put another header there. */
  noteReplaced(volumeId: string): void {
    this.#replaced.add(volumeId);
  }

  /** Whether a fault ever put another header there. */
  wasReplaced(volumeId: string): boolean {
    return this.#replaced.has(volumeId);
  }

  /**
   * Whether storage is still behind the recorded header after a fault put an earlier one there. It may become so again: a crash
   * loses a repair that was not flushed.
   */
  isReplaced(volumeId: string): boolean {
    if (!this.#replaced.has(volumeId)) return false;
    return (this.#onStorage(volumeId)?.sequence ?? 0) < (this.#lastOf(volumeId)?.sequence ?? 0);
  }

  #onStorage(volumeId: string): DiskHeader | undefined {
    const [a, b] = [this.slot(volumeId, 0), this.slot(volumeId, 1)];
    if (!a || !b) return a ?? b;
    return a.sequence > b.sequence ? a : b;
  }

  #lastOf(volumeId: string): DiskHeader | undefined {
    return this.#recorded.get(volumeId)?.at(-1)?.header;
  }
}
