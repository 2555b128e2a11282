import { Rejection } from '@interlock/event-store';
import { type BlockStore, isZeroSector } from './block-store.ts';
import { type DiskHeader, decodeSlot, encodeSlot } from './disk-header-format.ts';
import { sectorSize } from './sector.ts';

/**
 * The header of a disk: two slots of one sector each, in a small store beside the data. A slot is whole in itself, so a
 * crash while one is written leaves the other. Of two good slots the one with the higher sequence counts; with the same
 * sequence, the one with the higher host epoch, which alone then differs.
 *
 *   rotation:  [old][    ] ─write B, flush, read back─▶ [old][new] ─commit the event─▶ erase A ─▶ [    ][new]
 */
export interface FoundHeader {
  readonly current: DiskHeader;
  /** A good slot of a lower sequence: a rotation was stopped before its old wrap was erased. */
  readonly previous: DiskHeader | undefined;
}

/** Bytes of the store a header lives in. */
export const headerSize = 2 * sectorSize;

/** Both slots as they were read. They stay so as long as whoever read them is the only one who writes. */
export type HeaderSlots = readonly [Slot, Slot];

/**
 * Reads the header. A slot torn by a crash is passed over as long as the other is good.
 * @throws Rejection DATA_LOSS HEADER_CORRUPT when no slot is good, or both are but do not belong together.
 */
export const readHeader = async (store: BlockStore): Promise<FoundHeader> => headerIn(await readSlots(store));

/** The header these slots hold. @throws Rejection as `readHeader` */
export function headerIn([a, b]: HeaderSlots): FoundHeader {
  const good = [a, b].filter((slot) => slot.status === 'good');
  const [first, second] = good.toSorted(
    ({ header: left }, { header: right }) => right.sequence - left.sequence || right.hostEpoch - left.hostEpoch,
  );
  if (!first) throw corrupt(`slot A is ${a.status}, slot B is ${b.status}`);
  const { header: current } = first;
  const previous = second?.header;
  if (previous) {
    if (current.diskId !== previous.diskId) throw corrupt('both slots are good but are of different disks');
    if (isSameHeader(current, previous)) throw corrupt('both slots are good and both count');
  }
  return { current, previous };
}

/**
 * Writes a header into the slot that is not current, makes it durable and reads it back. The current slot stays until
 * `erasePrevious`. An unfinished rotation must be ended before anything else is written.
 * @param slots as they are, where they are known. @returns the slots as they are then
 * @throws Rejection ABORTED HEADER_STALE unless the sequence follows the current one; FAILED_PRECONDITION HEADER_BUSY
 * while a previous slot is there; DATA_LOSS HEADER_CORRUPT when what was written does not read back.
 */
export async function writeHeader(store: BlockStore, header: DiskHeader, slots?: HeaderSlots): Promise<HeaderSlots> {
  const known = slots ?? (await readSlots(store));
  const good = known.filter((slot) => slot.status === 'good');
  if (good.length === 2) {
    throw new Rejection('FAILED_PRECONDITION', 'HEADER_BUSY', 'both slots are in use; erase the previous one first', {
      disk: header.diskId,
    });
  }
  const current = good[0];
  const expected = (current?.header.sequence ?? 0) + 1;
  if (header.sequence !== expected) {
    throw new Rejection(
      'ABORTED',
      'HEADER_STALE',
      `sequence is ${header.sequence}; the next of this header is ${expected}: read it again`,
      { sequence: String(header.sequence), expected: String(expected) },
    );
  }
  const index = current?.index === 0 ? 1 : 0;
  await writeSlot(store, index, encodeSlot(header));
  return withSlot(known, { status: 'good', index, header });
}

/**
 * Erases everything but the current slot, durably: an old wrap, or what a torn write left. Call it after the event that
 * makes the current slot count is committed. Repeating it does nothing.
 * @param slots as they are, where they are known. @returns the slots as they are then @throws Rejection as `readHeader`.
 */
export async function erasePrevious(store: BlockStore, slots?: HeaderSlots): Promise<HeaderSlots> {
  let known = slots ?? (await readSlots(store));
  const { current } = headerIn(known);
  for (const slot of known) {
    const isCurrent = slot.status === 'good' && isSameHeader(slot.header, current);
    if (isCurrent || slot.status === 'empty') continue;
    await writeSlot(store, slot.index, new Uint8Array(sectorSize));
    known = withSlot(known, { status: 'empty', index: slot.index });
  }
  return known;
}

const withSlot = ([a, b]: HeaderSlots, slot: Slot): HeaderSlots => (slot.index === 0 ? [slot, b] : [a, slot]);

/**
 * Puts the epoch of the host that owns the volume into its header, durably; the sequence stays, for nothing of the disk has
 * changed. Nothing happens where it stands there, or no header is written yet.
 * @param refuse makes the refusal for a host that finds a later one's epoch
 * @throws Rejection as `readHeader`, and what `refuse` makes
 */
export async function stampHostEpoch(store: BlockStore, hostEpoch: number, refuse: () => Rejection): Promise<void> {
  const slots = await readSlots(store);
  if (slots.every(({ status }) => status === 'empty')) return;
  const { current, previous } = await readHeader(store);
  if (current.hostEpoch > hostEpoch) throw refuse();
  if (current.hostEpoch === hostEpoch) return;
  if (previous) await erasePrevious(store);
  const at = slots.findIndex((slot) => slot.status === 'good' && isSameHeader(slot.header, current));
  await writeSlot(store, at === 0 ? 1 : 0, encodeSlot({ ...current, hostEpoch }));
  await erasePrevious(store);
}

/** Two slots that cannot be told apart by what decides between them. */
const isSameHeader = (one: DiskHeader, other: DiskHeader): boolean =>
  one.sequence === other.sequence && one.hostEpoch === other.hostEpoch;

type Slot =
  | { readonly status: 'good'; readonly index: number; readonly header: DiskHeader }
  | { readonly status: 'empty' | 'corrupt'; readonly index: number };

/** Reads both slots. */
export async function readSlots(store: BlockStore): Promise<HeaderSlots> {
  const bytes = new Uint8Array(headerSize);
  await store.read(0, bytes);
  const slot = (index: number): Slot => {
    const sector = bytes.subarray(index * sectorSize, (index + 1) * sectorSize);
    if (isZeroSector(sector)) return { status: 'empty', index };
    const header = decodeSlot(sector);
    return header ? { status: 'good', index, header } : { status: 'corrupt', index };
  };
  return [slot(0), slot(1)];
}

async function writeSlot(store: BlockStore, index: number, sector: Uint8Array): Promise<void> {
  await store.write(index * sectorSize, sector);
  await store.flush();
  const back = new Uint8Array(sectorSize);
  await store.read(index * sectorSize, back);
  if (Buffer.compare(back, sector) !== 0)
    throw corrupt(`slot ${'AB'[index]} reads back differently than it was written`);
}

const corrupt = (why: string) =>
  new Rejection('DATA_LOSS', 'HEADER_CORRUPT', `the header of this disk cannot be used: ${why}`, { why });
