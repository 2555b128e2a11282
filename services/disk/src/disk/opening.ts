import { type Cause, type Loaded, Rejection, StoreUnavailable } from '@interlock/event-store';
import type { KeyGrant } from '../host/disk-host.ts';
import { followDiskHeader } from '../moves/header-following.ts';
import type { Step } from '../step-barrier.ts';
import type { Control } from './control.ts';
import { existing } from './decider.ts';
import type { DiskEvent } from './events.ts';
import { recordOf } from './records.ts';
import type { ActiveDisk, Disk } from './state.ts';

/** An access to give to a disk. */
export interface AccessRequest {
  /** Refuses before the vault is called. */
  allowed(disk: Disk): ActiveDisk;
  /**
   * The events, for the next attach epoch.
   * @param grant under which the DEK was unwrapped; undefined under a platform key
   */
  decide(attachEpoch: number, grant: KeyGrant | undefined): (disk: Disk) => readonly DiskEvent[];
}

/** How often a disk may change during an open. */
const attemptsMax = 10;

/**
 * Gives access to a disk, after its DEK was unwrapped again: for a machine or for a user. The vault is called outside of the
 * disk's turn, so a close never waits for it. If the disk changed meanwhile, everything is repeated.
 * @param step waits for disks that are opened together
 * @throws Rejection of `allowed`; a reason of key loss; DATA_LOSS HEADER_CORRUPT, WRONG_DEK; UNAVAILABLE. Rules CMK-08, CMK-106.
 */
export const openDisk = async (
  control: Control,
  name: string,
  request: AccessRequest,
  cause: Cause,
  step?: Step,
): Promise<Loaded<ActiveDisk>> => {
  const { disks, host } = control;
  for (let attempt = 1; attempt <= attemptsMax; attempt++) {
    const before = await disks.load(name);
    const holder = { ...request.allowed(before.state), name };
    try {
      const opened = await attemptOpen(control, before, holder, request, cause, step);
      if (opened) return opened;
    } catch (error) {
      if (error instanceof StoreUnavailable) host.doubt(name);
      if (!(error instanceof Rejection)) throw error;
      // A volume is removed after an event of the disk; the disk as it is then decides whether it can be opened.
      const isRemoved = error.reason === 'VOLUME_MISSING' && (await disks.load(name)).version !== before.version;
      if (!isRemoved && !['ETAG_MISMATCH', 'HEADER_STALE'].includes(error.reason)) throw error;
    }
  }
  throw new Rejection('ABORTED', 'CONTENTION', `${name} keeps changing: try again`, { name });
};

/** @returns undefined if the disk changed meanwhile */
const attemptOpen = async (
  control: Control,
  before: Loaded<Disk>,
  holder: ActiveDisk & { readonly name: string },
  { decide }: AccessRequest,
  cause: Cause,
  step: Step | undefined,
): Promise<Loaded<ActiveDisk> | undefined> => {
  const { disks, host, turns, clock } = control;
  const { name } = holder;
  const prepared = await host.prepareOpen(holder, cause, step);
  if (!prepared) return undefined;
  try {
    return await turns(name, async () => {
      const header = await host.inspect(holder);
      if (header.sequence !== prepared.header.sequence) return undefined;
      const now = await followDiskHeader(control, name, cause, { loaded: before, header });
      prepared.refuseLost();
      const terms = { known: now, expected: now.version };
      const after = await disks.transact(name, decide(now.state.attachEpoch + 1, prepared.grant), cause, terms);
      const active = { ...after, state: existing(after.state) };
      await prepared.begin(recordOf(active, clock));
      return active;
    });
  } finally {
    await prepared.discard();
  }
};
