import { lossReasonIn } from '@interlock/access';
import { type Category, type Cause, type Loaded, Rejection, StoreUnavailable } from '@interlock/event-store';
import type { Sessions } from '../host/data/sessions.ts';
import type { DiskHeader } from '../host/header/disk-header-format.ts';
import type { Headers } from '../host/header/genuine-headers.ts';
import type { DekHolder, Deks, OpenDek } from '../host/keys/deks.ts';
import type { KeyAccess } from '../host/keys/key-access.ts';
import { keyLost } from '../host/keys/key-reasons.ts';
import type { KeyGrant } from '../host/keys/lease.ts';
import type { Volumes } from '../host/volume/volumes.ts';
import type { CatchUp } from '../moves/catching-up.ts';
import type { Step } from '../moves/cohort.ts';
import { existing } from './decider.ts';
import { setOf } from './encryption.ts';
import type { DiskEvent } from './events.ts';
import type { ActiveDisk, Disk } from './state.ts';
import type { Turns } from './turns.ts';

/**
 * What an access decides once the DEK is in hand: the events, for the next attach epoch.
 * @param grant the yes under which it was unwrapped; undefined under a key of the platform
 */
export type AccessDecision = (attachEpoch: number, grant: KeyGrant | undefined) => (disk: Disk) => readonly DiskEvent[];

/**
 * Unwraps the DEK afresh and gives access to a disk: for a machine's open and for a user's. The vault is asked outside of
 * the disk's turn, so closing never waits for it; if the disk changed meanwhile, all is done again.
 * @param allowed refuses before the vault is asked
 * @param step waits for disks that are opened together, before the vault is asked: so one question and one message are for all
 * @throws Rejection of `allowed`; a reason of key loss; DATA_LOSS HEADER_CORRUPT, WRONG_DEK; UNAVAILABLE. Rules CMK-08, CMK-106.
 */
export type Opening = (
  name: string,
  allowed: (disk: Disk) => ActiveDisk,
  decide: AccessDecision,
  cause: Cause,
  step?: Step,
) => Promise<Loaded<ActiveDisk>>;

/** Times a disk may change under an opening before that is no coincidence. */
const attemptsMax = 10;

/** Opens it. */
export const openOpening = (parts: {
  readonly disks: Category<Disk, DiskEvent>;
  readonly volumes: Pick<Volumes, 'keepHeader'>;
  readonly headers: Pick<Headers, 'current'>;
  readonly deks: Deks;
  readonly sessions: Sessions;
  readonly keyAccess: Pick<KeyAccess, 'lossConcerning'>;
  readonly turns: Turns;
  readonly catchUp: CatchUp;
}): Opening => {
  const { disks, volumes, headers, deks, sessions, keyAccess, turns, catchUp } = parts;

  /** A loss heard while the vault unwrapped concerns this open too, also of an ultra disk: what was not open is not pinned. */
  const refuseLost = (name: string, disk: ActiveDisk, { wrap }: DiskHeader, { grant }: OpenDek): void => {
    const key = { set: setOf(disk.encryption), keyVersion: wrap.keyVersion };
    const loss = grant && keyAccess.lossConcerning(key, grant);
    if (loss) throw keyLost({ ...key, resource: name }, loss);
  };

  /** @returns undefined where the disk has left meanwhile what it was refused for: that says nothing about what it is under now */
  const unwrapped = async (holder: DekHolder, header: DiskHeader, cause: Cause): Promise<OpenDek | undefined> => {
    try {
      return await deks.unwrap(holder, header, cause);
    } catch (error) {
      if (lossReasonIn(error) === undefined) throw error;
      const { sequence } = await headers.current(holder);
      if (sequence === header.sequence) throw error;
      return undefined;
    }
  };

  return async (name, allowed, decide, cause, step) => {
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const before = await disks.load(name);
      const disk = allowed(before.state);
      const { volumeId } = disk.volume;
      // It is looked at again in the disk's turn, and where the volume is opened: each time it would be opened and read anew.
      const letGo = volumes.keepHeader(volumeId);
      let opened: OpenDek | undefined;
      try {
        const header = await headers.current({ ...disk, name });
        await step?.();
        opened = await unwrapped({ ...disk, name }, header, cause);
        if (!opened) continue;
        const inHand = opened;
        const loaded = await turns(name, async () => {
          const current = await headers.current({ ...disk, name });
          if (current.sequence !== header.sequence) return undefined;
          const now = await catchUp(name, cause, { loaded: before, header: current });
          refuseLost(name, now.state, header, inHand);
          // On condition that the disk is what it was when the vault was asked; else all is done again.
          const terms = { known: now, expected: now.version };
          const after = await disks.transact(name, decide(now.state.attachEpoch + 1, inHand.grant), cause, terms);
          const active = { ...after, state: existing(after.state) };
          await sessions.begin(active, inHand);
          return active;
        });
        if (loaded) return loaded;
      } catch (error) {
        if (error instanceof StoreUnavailable) sessions.doubt(name);
        if (!(error instanceof Rejection)) throw error;
        // Its volume is removed behind an event: what that left of the disk says whether it can be opened.
        const isRemoved = error.reason === 'VOLUME_MISSING' && (await disks.load(name)).version !== before.version;
        if (!isRemoved && error.reason !== 'ETAG_MISMATCH') throw error;
      } finally {
        opened?.dek.fill(0);
        await letGo();
      }
    }
    throw new Rejection('ABORTED', 'CONTENTION', `${name} is being changed by others all the time; try again`, {
      name,
    });
  };
};
