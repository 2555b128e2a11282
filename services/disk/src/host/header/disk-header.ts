import { Rejection } from '@interlock/event-store';
import { type BlockStore, isZeroSector, zeroSector } from '../storage/block-store.ts';
import { sectorSize } from '../storage/sector.ts';
import { type BadSlot, type DiskHeader, decodeSlot, encodeSlot, type SlotMac } from './disk-header-format.ts';

/**
 * The header of a disk: two slots of one sector each, in a small store next to the data. Each slot is complete in itself, so a
 * crash while one is written leaves the other. Of two good slots the one with the higher sequence is current. Slots with the
 * same sequence differ only in the host epoch, and the one with the higher epoch is current.
 *
 *   rotation:  [old][    ] ─write B, flush, read back─▶ [old][new] ─commit the event─▶ erase A ─▶ [    ][new]
 */
export interface FoundHeader {
  readonly current: DiskHeader;
  /** A good slot of a lower sequence: a rotation was stopped before its old wrap was erased. */
  readonly previous: DiskHeader | undefined;
}

/** Size of the store of a header, in bytes. */
export const headerSize = 2 * sectorSize;

type HeaderSlots = readonly [Slot, Slot];

/** An open header with a single writer. */
export interface OpenHeader {
  readonly store: BlockStore;
  /** The MAC of its volume. */
  readonly mac: SlotMac;
  /** Both slots, if they are known. They stay the same until they are written. Undefined before the first read. */
  slots: HeaderSlots | undefined;
  /** Their content, after the first read. */
  found: FoundHeader | undefined;
  /** Whether the current slot is on stable storage for certain, because it was written here. */
  isDurable: boolean;
}

/** A header that was not read yet. */
export const headerOver = (store: BlockStore, mac: SlotMac): OpenHeader => ({
  store,
  mac,
  slots: undefined,
  found: undefined,
  isDurable: false,
});

/** Whether a previous slot may have to be erased: both slots are good, or they were not read. */
export const mayHavePrevious = ({ slots }: OpenHeader): boolean =>
  slots === undefined || slots.every(({ status }) => status === 'good');

/**
 * Reads the header. A slot that was torn by a crash or cannot be read is skipped if the other is good.
 * @throws Rejection DATA_LOSS HEADER_CORRUPT when no slot is good, or both are but do not belong together; DATA_LOSS HEADER_FORGED
 * when no slot is good and this service did not write one of them
 */
export const readHeader = async (header: OpenHeader): Promise<FoundHeader> => {
  header.found ??= headerIn(await slotsOf(header));
  return header.found;
};

/** As `readHeader`, without throwing for a bad header. `empty`: no header was written, or both slots were erased. */
export const findHeader = async (open: OpenHeader): Promise<FoundHeader | 'empty' | BadSlot> => {
  if ((await slotsOf(open)).every(({ status }) => status === 'empty')) return 'empty';
  try {
    return await readHeader(open);
  } catch (error) {
    if (!(error instanceof Rejection)) throw error;
    return error.reason === 'HEADER_FORGED' ? 'forged' : 'corrupt';
  }
};

/** Makes the next use read the slots again. */
export const forgetHeader = (open: OpenHeader): void => {
  open.slots = undefined;
  open.found = undefined;
  open.isDurable = false;
};

function headerIn([a, b]: HeaderSlots): FoundHeader {
  const good = [a, b].filter((slot) => slot.status === 'good');
  const [first, second] = good.toSorted(
    ({ header: left }, { header: right }) => right.sequence - left.sequence || right.hostEpoch - left.hostEpoch,
  );
  if (!first) {
    const why = `slot A is ${a.status}, slot B is ${b.status}`;
    throw [a, b].some(({ status }) => status === 'forged') ? forged(why) : corrupt(why);
  }
  const { header: current } = first;
  const previous = second?.header;
  if (previous) {
    if (current.diskId !== previous.diskId) throw corrupt('both slots are good but are of different disks');
    if (isSameHeader(current, previous)) throw corrupt('both slots are good and both count');
  }
  return { current, previous };
}

/**
 * Makes the current slot durable before its event is stored or the previous slot is erased. If another good slot exists, the
 * current one may be only in the memory of the operating system: its writer was killed before the flush, or the flush failed. It
 * is rewritten unchanged, because no later flush makes durable what a failed flush discarded. Does nothing if it was written here,
 * or is the only one: then the other slot was erased after it.
 * @throws Rejection as `readHeader`
 */
export async function makeCurrentDurable(open: OpenHeader): Promise<void> {
  const slots = await slotsOf(open);
  const { current, previous } = headerIn(slots);
  if (open.isDurable || !previous) return;
  const slot = slots.find((one) => one.status === 'good' && isSameHeader(one.header, current));
  if (!slot) return;
  const sector = new Uint8Array(sectorSize);
  await open.store.read(slot.index * sectorSize, sector);
  await writeSlot(open, sector, slot);
}

/**
 * Writes a header into the slot that is not current, makes it durable and reads it back. The current slot stays until
 * `erasePrevious`. An unfinished rotation must be ended before anything else is written.
 * @throws Rejection ABORTED HEADER_STALE unless the sequence follows the current one; FAILED_PRECONDITION HEADER_BUSY
 * while a previous slot is there; DATA_LOSS HEADER_CORRUPT when what was written does not read back.
 */
export async function writeHeader(open: OpenHeader, header: DiskHeader): Promise<void> {
  const slots = await slotsOf(open);
  const good = slots.filter((slot) => slot.status === 'good');
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
  const sector = encodeSlot(header, open.mac);
  if (current) await writeSlot(open, sector, { status: 'good', index: current.index === 0 ? 1 : 0, header });
  else await writeFirst(open, sector, header);
}

/**
 * Erases everything but the current slot, durably: an old wrap, or what a torn write left. Call it after the event of the
 * current slot is committed. A repeat does nothing. @throws Rejection as `readHeader`.
 */
export async function erasePrevious(open: OpenHeader): Promise<void> {
  await makeCurrentDurable(open);
  const slots = await slotsOf(open);
  const { current } = headerIn(slots);
  for (const slot of slots) {
    const isCurrent = slot.status === 'good' && isSameHeader(slot.header, current);
    if (isCurrent || slot.status === 'empty') continue;
    await writeSlot(open, zeroSector, { status: 'empty', index: slot.index });
  }
}

/**
 * Replaces both slots by the header that the store knows, when the storage returned another. If a crash tears it, the store still
 * has it. @throws Rejection DATA_LOSS HEADER_CORRUPT when it does not read back
 */
export const restoreHeader = (open: OpenHeader, header: DiskHeader): Promise<void> =>
  writeFirst(open, encodeSlot(header, open.mac), header);

/**
 * Writes the epoch of the host that owns the volume into its header, durably. The sequence stays, because the disk has not
 * changed. Does nothing if the header has this epoch, or if no header exists.
 * @param refuse creates the refusal of a host that finds the epoch of a later host
 * @throws Rejection as `readHeader`, and that of `refuse`
 */
export async function stampHostEpoch(open: OpenHeader, hostEpoch: number, refuse: () => Rejection): Promise<void> {
  const slots = await slotsOf(open);
  if (slots.every(({ status }) => status === 'empty')) return;
  const { current, previous } = headerIn(slots);
  if (current.hostEpoch > hostEpoch) throw refuse();
  if (current.hostEpoch === hostEpoch) return;
  if (previous) await erasePrevious(open);
  const at = slots.findIndex((slot) => slot.status === 'good' && isSameHeader(slot.header, current));
  const header = { ...current, hostEpoch };
  await writeSlot(open, encodeSlot(header, open.mac), { status: 'good', index: at === 0 ? 1 : 0, header });
  await erasePrevious(open);
}

/** Whether two slots have the same sequence and host epoch. */
const isSameHeader = (one: DiskHeader, other: DiskHeader): boolean =>
  one.sequence === other.sequence && one.hostEpoch === other.hostEpoch;

type Slot =
  | { readonly status: 'good'; readonly index: number; readonly header: DiskHeader }
  | { readonly status: 'empty' | BadSlot; readonly index: number };

const slotsOf = async (open: OpenHeader): Promise<HeaderSlots> => {
  open.slots ??= await readSlots(open);
  return open.slots;
};

/**
 * Reused buffers that headers are read into. Nothing refers to them once the slots are decoded. Fresh memory for each of
 * thousands of headers would be outside of the heap, where the garbage collector seldom frees it.
 */
const idleBuffers: Uint8Array[] = [];
/** Most idle buffers. */
const idleBuffersMax = 64;

async function readSlots({ store, mac }: OpenHeader): Promise<HeaderSlots> {
  // The file was truncated: none of it is used as a header.
  if (store.size() < headerSize) {
    return [
      { status: 'corrupt', index: 0 },
      { status: 'corrupt', index: 1 },
    ];
  }
  const bytes = idleBuffers.pop() ?? new Uint8Array(headerSize);
  // A buffer is not reused after a failed read, which may still write into it.
  await store.read(0, bytes);
  const slots: HeaderSlots = [slotIn(bytes, 0, mac), slotIn(bytes, 1, mac)];
  if (idleBuffers.length < idleBuffersMax) idleBuffers.push(bytes);
  return slots;
}

function slotIn(bytes: Uint8Array, index: number, mac: SlotMac): Slot {
  const sector = bytes.subarray(index * sectorSize, (index + 1) * sectorSize);
  if (isZeroSector(sector)) return { status: 'empty', index };
  const header = decodeSlot(sector, mac);
  return typeof header === 'string' ? { status: header, index } : { status: 'good', index, header };
}

/** @param slot what it is once it is written */
async function writeSlot(open: OpenHeader, sector: Uint8Array, slot: Slot): Promise<void> {
  const [a, b] = await slotsOf(open);
  await writeSlots(open, slot.index * sectorSize, sector, slot.index === 0 ? [slot, b] : [a, slot]);
}

/** Writes the first header, with zeros for the other slot, so that both have space even if storage is full later. */
const writeFirst = (open: OpenHeader, sector: Uint8Array, header: DiskHeader): Promise<void> =>
  writeSlots(open, 0, Buffer.concat([sector, zeroSector]), [
    { status: 'good', index: 0, header },
    { status: 'empty', index: 1 },
  ]);

/** @param slots what both are once the bytes are written */
async function writeSlots(open: OpenHeader, offset: number, bytes: Uint8Array, slots: HeaderSlots): Promise<void> {
  // The outcome is unknown until the write has ended.
  forgetHeader(open);
  if (!(await open.store.writeDurably(offset, bytes)))
    throw corrupt(`the bytes from ${offset} on read back differently than they were written`);
  open.slots = slots;
  // The current slot was written now, or the other one was erased after it.
  open.isDurable = true;
}

const corrupt = (why: string) =>
  new Rejection('DATA_LOSS', 'HEADER_CORRUPT', `the header of this disk cannot be used: ${why}`, { why });

const forged = (why: string) =>
  new Rejection(
    'DATA_LOSS',
    'HEADER_FORGED',
    `the header of this disk was not written by this service, or for another volume: ${why}`,
    { why },
  );
