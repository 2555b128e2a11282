import type { CloseDiskRequest } from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import {
  type Cause,
  type CausedBy,
  type Loaded,
  type Rejection,
  readEvent,
  StoreUnavailable,
  writeEvent,
} from '@interlock/event-store';
import { names } from '@interlock/rpc';
import { withKeys } from '@interlock/runtime';
import { close } from './attachment-decider.ts';
import type { Control } from './control.ts';
import type { DiskEvent } from './events.ts';
import { type Disk, diskSteps, evolve } from './state.ts';

/** A request to close a disk of a machine. */
export interface Closing {
  readonly name: string;
  readonly virtualMachine: string;
  readonly isDeallocated: boolean;
  /** 0 for any. */
  readonly attachEpoch: number;
  /** The event that led to it; `''`: that of the call. */
  readonly cause?: string;
}

/** The disk afterwards, or why it is not closed. */
export type ClosingOutcome = { readonly disk: Loaded<Disk> } | { readonly refused: Rejection };

/** The closing that a request describes. @throws Rejection INVALID_ARGUMENT NAME_INVALID */
export const closingOf = ({ name, virtualMachine, deallocated, attachEpoch, cause }: CloseDiskRequest): Closing => {
  names.disk.parse(name, 'name');
  names.virtualMachine.parse(virtualMachine, 'virtual_machine');
  return { name, virtualMachine, isDeallocated: deallocated, attachEpoch, cause: readEvent(cause) };
};

/** A disk that is closed, as the outcome of an item, with the event that closed it. */
export const closedOnWire = (disk: Loaded<Disk>) => ({
  outcome: { $case: 'closed' as const, value: {} },
  event: writeEvent(closingEvent(disk)),
});

/** The event that closed a disk; `''` if it was not open since it was attached, or is open again. */
const closingEvent = ({ id, state }: Loaded<Disk>): string => {
  const { attach = 0, open: opened = 0, close: closed = 0 } = state.steps ?? {};
  return closed > Math.max(attach, opened) ? (diskSteps(id, state, 'close')[0] ?? '') : '';
};

/** What closing needs. */
export type ClosingParts = Pick<Control, 'disks' | 'turns' | 'clock'> & {
  readonly host: Pick<Control['host'], 'close' | 'doubt'>;
};

/**
 * Ends the reads and writes of machines on their disks, those of one call in one commit. Each closing is decided by itself. Its
 * access at the host ends too.
 * @returns an outcome for each, in order
 */
export const closeDisks = async (
  parts: ClosingParts,
  closings: readonly Closing[],
  cause: Cause,
): Promise<readonly ClosingOutcome[]> => {
  const { turns, host } = parts;
  const byDisk = Map.groupBy(closings, ({ name }) => name);
  const isFree = Map.groupBy(byDisk, ([name]) => turns.isFree(name));
  // A busy disk is closed by itself, so that no other disk waits for it.
  const groups = [isFree.get(true) ?? [], ...(isFree.get(false) ?? []).map((one) => [one])];
  const found = await Promise.all(
    groups.map((group) => {
      const names = group.map(([name]) => name);
      return withKeys(turns, names, () =>
        closeInTurn(parts, new Map(group), cause).catch((error: unknown) => {
          if (error instanceof StoreUnavailable) for (const name of names) host.doubt(name);
          throw error;
        }),
      );
    }),
  );
  const outcomes = new Map(found.flat());
  return closings.map(({ name }) => {
    const outcome = outcomes.get(name);
    if (!outcome) throw new Error(`closing ${name} has no outcome`);
    return outcome;
  });
};

/** What led to the closings of a disk; undefined: what led to the call. */
const causesOf = (closings: readonly Closing[] = []): readonly CausedBy[] | undefined => {
  const ids = new Set(closings.map(({ cause = '' }) => cause).filter((id) => id !== ''));
  return ids.size === 0 ? undefined : [...ids].map((id) => ({ id, kind: 'call' }));
};

/** Closes disks whose turns the caller has. */
const closeInTurn = async (
  { disks, host, clock }: ClosingParts,
  closings: ReadonlyMap<string, readonly Closing[]>,
  cause: Cause,
): Promise<readonly (readonly [string, ClosingOutcome])[]> => {
  const at = clock.now();
  const found = new Map<string, Loaded<Disk>>();
  const { changed, rejected } = await disks.transactMany(
    [...closings.keys()],
    (state, id, version) => {
      found.set(id, { id, state, version });
      const events: DiskEvent[] = [];
      let disk = state;
      for (const { virtualMachine, isDeallocated, attachEpoch } of closings.get(id) ?? []) {
        const more = close(at, virtualMachine, isDeallocated, attachEpoch)(disk);
        events.push(...more);
        disk = more.reduce(evolve, disk);
      }
      return events;
    },
    cause,
    // A disk that keeps changing must not keep the sessions of closed disks open.
    { onContention: 'reject', causesOf: (_disk, id) => causesOf(closings.get(id)) },
  );
  for (const disk of changed) found.set(disk.id, disk);
  for (const { id } of rejected) found.delete(id);
  for (const { id, state } of found.values()) {
    if (state.status !== 'active' || state.access === null) host.close(id);
  }
  return [
    ...[...found].map(([id, disk]) => [id, { disk }] as const),
    ...rejected.map(({ id, rejection }) => [id, { refused: rejection }] as const),
  ];
};
