import { type Category, type Cause, type Loaded, Rejection } from '@interlock/event-store';
import { outsideOfCalls } from '@interlock/rpc';
import type { Clock, Logger } from '@interlock/runtime';
import { diskClasses } from '../../disk/classes.ts';
import { accessAt, existing } from '../../disk/decider.ts';
import { isLayered, setOf } from '../../disk/encryption.ts';
import type { DiskEvent } from '../../disk/events.ts';
import type { ActiveDisk, Disk } from '../../disk/state.ts';
import type { Turns } from '../../disk/turns.ts';
import type { Settling } from '../../reconcile/settling.ts';
import { createEncryptedDisk } from '../cipher/encrypted-disk.ts';
import type { SectorCipher } from '../cipher/xts.ts';
import type { Headers } from '../header/genuine-headers.ts';
import type { DekHolder, Deks, OpenDek } from '../keys/deks.ts';
import type { KeyAccess, SetKeyVersion } from '../keys/key-access.ts';
import type { KeyGrant } from '../keys/lease.ts';
import type { LeaseUser } from '../keys/lease-user.ts';
import type { Leases } from '../keys/leases.ts';
import { createScratch } from '../storage/scratch.ts';
import type { Volumes } from '../volume/volumes.ts';
import { epochOfToken, hashAccessToken } from './access-token.ts';
import { bridge } from './bridging.ts';
import { isPinned, mayUseDek, outdated, type Session, SessionEnding } from './session.ts';

/** The disks that are open on this host: at most one session a disk, that of its newest epoch. */
export interface Sessions {
  /**
   * The session a token belongs to, made again from the events where this process has none.
   * @throws Rejection UNAUTHENTICATED DISK_ACCESS_TOKEN_MISSING, DISK_ACCESS_TOKEN_INVALID; FAILED_PRECONDITION ATTACH_EPOCH_OUTDATED
   */
  of(name: string, token: string | undefined): Promise<Session>;
  /** Makes the session of the disk's newest access, in its turn; an older one ends first, the same one goes on. Clears the DEK. */
  begin(disk: Loaded<ActiveDisk>, opened: OpenDek): Promise<void>;
  /** Ends a disk's session: its DEK is overwritten before this returns. Rule CMK-102. */
  end(name: string): void;
  /**
   * Somebody has ended or begun an access to a disk, and the store did not answer: whoever has it here goes on only if the events
   * know that access still, which is looked at as soon as the store answers.
   */
  doubt(name: string): void;
  /** Ends every session and waits until their volumes are given free. */
  close(): Promise<void>;
  /** Whether the disk is open here. */
  has(name: string): boolean;
  /**
   * Notes that a disk's DEK is under another version; its value, and so I/O, stay (CMK-15, CMK-82). Until the lease of the
   * new version is won, the last yes to the old one counts for as long as it would have anyway.
   */
  rewrapped(name: string, key: SetKeyVersion): void;
  /**
   * Gets the DEK of a session again, once. It may still be missing afterwards: where the lease is not held, or the disk
   * moved to another version meanwhile. @throws as unwrapping does
   */
  fetchDek(session: Session, cause: Cause): Promise<void>;
  /**
   * Makes the sessions that a process before this one had; they have no DEK yet. One that outlives a loss gets its DEK as soon
   * as the lease is held, whether anybody reads or not: a loss before that would find nothing to keep (CMK-102).
   */
  resume(cause: Cause): Promise<void>;
  /** Whether a lost key still serves a running machine here. */
  isPinned(name: string): boolean;
}

/** Disks read at once while resuming. */
const pageSize = 1_000;
/** DEKs fetched at once that nobody has asked for yet. */
const unaskedMax = 64;

/** Nothing is open yet. */
export const openSessions = (parts: {
  readonly disks: Category<Disk, DiskEvent>;
  readonly volumes: Volumes;
  readonly headers: Pick<Headers, 'current' | 'tidied'>;
  readonly deks: Deks;
  readonly keyAccess: KeyAccess;
  readonly leases: Leases;
  readonly turns: Turns;
  readonly settling: Pick<Settling, 'later'>;
  /** Opens the cipher of a disk. The caller clears `dek`. */
  readonly openCipher: (dek: Uint8Array, disk: string) => SectorCipher;
  /** Ends direct access once its principal may not begin one (see `Holders`). */
  readonly watchHolder: (session: Session) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
}): Sessions => {
  const { disks, volumes, headers, deks, keyAccess, leases, turns, settling, openCipher, watchHolder, clock, log } =
    parts;
  const sessions = new Map<string, Session>();
  const scratch = createScratch();
  /** Volumes being given free by ended sessions. */
  const ending = new Map<string, Promise<void>>();
  /** Resumed sessions that would outlive a loss and have no DEK yet, each with the cause of its process. */
  const unpinned = new Map<Session, Cause>();
  /** Sessions that the events may not know any more. */
  const doubted = new Set<Session>();

  const moveTo = (session: Session, key: SetKeyVersion): void => {
    const before = session.lease;
    session.lease = keyAccess.lease(key);
    leases.join(key, session.user);
    if (before && before !== session.lease) leases.leave(before.key, session.user);
  };
  const drop = (session: Session): void => {
    session.held = undefined;
    session.bridge = undefined;
    session.disk.dropKey();
  };
  /** What may not be used does not stay in memory. */
  const dropUnusable = (session: Session): void => {
    if (session.held !== undefined && !mayUseDek(session)) drop(session);
  };
  const asked: AskedOfDisk = {
    drop: (session, why) => (why === 'lost' ? drop(session) : dropUnusable(session)),
    async probe(name, terms, cause) {
      const disk = existing((await disks.load(name)).state);
      const header = await headers.current({ ...disk, name });
      await deks.check({ ...disk, name }, header, cause, terms);
    },
  };

  const end = (name: string): void => {
    const session = sessions.get(name);
    if (!session) return;
    session.isEnded = true;
    unpinned.delete(session);
    session.ending.end();
    sessions.delete(name);
    if (session.lease) leases.leave(session.lease.key, session.user);
    drop(session);
    const freed = Promise.allSettled([ending.get(name), ...(session.writes ?? [])])
      .then(() => session.disk.close())
      .catch((error: unknown) => log.error('a volume could not be given free', { disk: name, error }))
      .finally(() => {
        if (ending.get(name) === freed) ending.delete(name);
      });
    ending.set(name, freed);
  };

  /** @returns the volume, and the version its DEK is under: its header may be ahead of the events */
  const openVolume = async (holder: DekHolder) => {
    const { volume, encryption } = holder;
    const { volumeId } = volume;
    // It is read once, for this and for opening the volume.
    const letGo = volumes.keepHeader(volumeId);
    try {
      // A crash may have come before what it replaced was erased.
      const { wrap } = await headers.tidied(holder);
      return { ...(await volumes.open(volumeId, isLayered(encryption))), keyVersion: wrap.keyVersion };
    } finally {
      await letGo();
    }
  };

  const make = async (
    { id: name, state }: Loaded<ActiveDisk>,
    access: NonNullable<ActiveDisk['access']>,
  ): Promise<Session> => {
    end(name);
    await ending.get(name);
    const { store, gate, keyVersion } = await openVolume({ ...state, name });
    const set = setOf(state.encryption);
    const isPinnable = access.by === 'machine' && diskClasses[state.sku].outlivesKeyLoss;
    const user = new OpenDisk(name, isPinnable, state.accessEpoch, asked);
    const session: Session = {
      name,
      attachEpoch: access.attachEpoch,
      tokenHash: access.tokenHash,
      level: access.by === 'machine' ? 'write' : access.level,
      holder: access.by === 'machine' ? undefined : access.principal,
      expiresAt: access.by === 'machine' ? undefined : access.expiresAt,
      isPinnable,
      disk: createEncryptedDisk(store, undefined, scratch),
      gate,
      writes: undefined,
      user,
      lease: undefined,
      bridge: undefined,
      held: undefined,
      streams: 0,
      isEnded: false,
      ending: new SessionEnding(),
      fetching: undefined,
    };
    user.session = session;
    sessions.set(name, session);
    if (set !== '') moveTo(session, { set, keyVersion });
    void endAtExpiry(session);
    void watchHolder(session);
    return session;
  };

  /** A DEK does not stay in memory until somebody asks whether its time is over. */
  const endAtExpiry = async ({ name, expiresAt, ending }: Session): Promise<void> => {
    if (expiresAt === undefined) return;
    const { signal } = ending;
    await clock.sleep(Math.max(0, expiresAt - clock.now()), signal);
    if (!signal.aborted) end(name);
  };

  const give = (session: Session, { dek, grant }: OpenDek): void => {
    session.disk.giveKey(openCipher(dek, session.name));
    dek.fill(0);
    session.held = { grant };
    const { lease, isPinnable } = session;
    // A loss heard since the vault said yes found no DEK here to drop, nor did the end of a lease.
    if (lease && grant && !isPinnable && keyAccess.lossConcerning(lease.key, grant)) drop(session);
    else dropUnusable(session);
  };

  /**
   * Without the disk's turn: an open waits in it for the writes of the session before, and those may wait here. What moves
   * the DEK to another version changes the lease of the session, so an answer about the old version is known by that.
   */
  const fetch = async (session: Session, cause: Cause): Promise<void> => {
    const { name, lease } = session;
    const disk = existing((await disks.load(name)).state);
    const header = await headers.current({ ...disk, name });
    // Who has ended needs nothing more, and nobody would take it from a lease that it came to now.
    if (session.isEnded) throw outdated(name, session.attachEpoch);
    if (lease && header.wrap.keyVersion !== lease.key.keyVersion) {
      // The header may be ahead of the events: it says which version a loss must be of, and which lease counts.
      if (session.lease === lease) moveTo(session, { set: lease.key.set, keyVersion: header.wrap.keyVersion });
      return;
    }
    const yes = lease?.isHeld() ? lease.yes() : undefined;
    if (lease && !yes) return;
    const opened = await deks.unwrap({ ...disk, name }, header, cause, yes).catch((error: unknown) => {
      // A no to the version that the disk has left says nothing about the one it is under.
      if (session.isEnded || session.lease === lease) throw error;
      return undefined;
    });
    try {
      if (session.isEnded) throw outdated(name, session.attachEpoch);
      if (opened && session.lease === lease) give(session, opened);
    } finally {
      opened?.dek.fill(0);
    }
  };

  const fetchDek = (session: Session, cause: Cause): Promise<void> => {
    session.fetching ??= fetch(session, cause).finally(() => {
      session.fetching = undefined;
    });
    return session.fetching;
  };

  /** Gets it a DEK. Without one it is tried again with the next yes, and with its first read or write, which then says why not. */
  const pin = async (session: Session, cause: Cause): Promise<void> => {
    try {
      if (session.held === undefined && !session.isEnded) await fetchDek(session, cause);
    } catch (error) {
      log.warn('a disk that outlives a loss of its key has no data key yet', { disk: session.name, error });
    }
    if (session.held !== undefined || session.isEnded) unpinned.delete(session);
  };
  const pinUnder = async ({ set, keyVersion }: SetKeyVersion): Promise<void> => {
    const found = [...unpinned].filter(([{ lease }]) => lease?.key.set === set && lease.key.keyVersion === keyVersion);
    for (let first = 0; first < found.length; first += unaskedMax) {
      await Promise.all(found.slice(first, first + unaskedMax).map(([session, cause]) => pin(session, cause)));
    }
  };
  // Not as a part of the question that was answered: its time may be over before the last is fetched.
  keyAccess.listen({ held: (key) => outsideOfCalls(() => void (unpinned.size > 0 && pinUnder(key))) });

  /** One that cannot be made now is made with its first read or write, which then says why not. */
  const resumeOne = (name: string, cause: Cause): Promise<void> =>
    turns(name, async () => {
      const loaded = await disks.load(name);
      if (loaded.state.status !== 'active' || sessions.has(name)) return;
      const access = accessAt(loaded.state, clock.now());
      if (access === null) return;
      const session = await make({ ...loaded, state: loaded.state }, access);
      if (!session.isPinnable || session.lease === undefined) return;
      unpinned.set(session, cause);
      if (session.lease.isHeld()) outsideOfCalls(() => void pin(session, cause));
    }).catch((error: unknown) => log.error('an open disk could not be resumed', { disk: name, error }));

  return {
    async of(name, token) {
      const attachEpoch = token === undefined ? undefined : epochOfToken(token);
      if (token === undefined || attachEpoch === undefined) throw noToken(token);
      const tokenHash = hashAccessToken(token);
      const admit = (session: Session): Session => {
        if (session.tokenHash === tokenHash) return session;
        if (attachEpoch < session.attachEpoch) throw outdated(name, attachEpoch);
        throw noToken(token);
      };
      const known = sessions.get(name);
      if (known) return admit(known);
      return turns(name, async () => {
        const since = sessions.get(name);
        if (since) return admit(since);
        const loaded = await disks.load(name);
        const disk = existing(loaded.state);
        const access = accessAt(disk, clock.now());
        if (access === null || attachEpoch < access.attachEpoch) {
          throw attachEpoch <= disk.attachEpoch ? outdated(name, attachEpoch) : noToken(token);
        }
        if (access.tokenHash !== tokenHash) throw noToken(token);
        return make({ ...loaded, state: disk }, access);
      });
    },
    async begin(loaded, opened) {
      const { access } = loaded.state;
      if (access === null) throw new Error('a session begins with an access');
      try {
        const known = sessions.get(loaded.id);
        // The same open again: its reads and writes go on.
        const isSame = known?.attachEpoch === access.attachEpoch && known.tokenHash === access.tokenHash;
        if (isSame && known.held) return;
        give(isSame ? known : await make(loaded, access), opened);
      } finally {
        opened.dek.fill(0);
      }
    },
    end,
    doubt(name) {
      const session = sessions.get(name);
      if (!session || doubted.has(session)) return;
      doubted.add(session);
      settling.later(name, async () => {
        const { state } = await disks.load(name);
        doubted.delete(session);
        const access = state.status === 'active' ? state.access : null;
        if (sessions.get(name) === session && access?.attachEpoch !== session.attachEpoch) end(name);
      });
    },
    async close() {
      for (const name of [...sessions.keys()]) end(name);
      await Promise.all(ending.values());
    },
    has: (name) => sessions.has(name),
    rewrapped(name, key) {
      const session = sessions.get(name);
      const before = session?.lease;
      if (!session || !before || before === keyAccess.lease(key)) return;
      moveTo(session, key);
      void bridge(session, before, { keyAccess, clock, drop, dropUnusable });
    },
    fetchDek,
    async resume(cause) {
      let after: string | undefined;
      do {
        const page = await disks.list({ limit: pageSize, ...(after === undefined ? {} : { after }) });
        for (const { id: name, state } of page.items) {
          if (state.status === 'active' && accessAt(state, clock.now()) !== null) await resumeOne(name, cause);
        }
        after = page.next;
      } while (after !== undefined);
    },
    isPinned: (name) => {
      const session = sessions.get(name);
      return session !== undefined && isPinned(session);
    },
  };
};

/** What a lease asks of whoever uses it, for any open disk. */
interface AskedOfDisk {
  drop(session: Session, ...args: Parameters<LeaseUser['drop']>): void;
  probe(disk: string, ...args: Parameters<LeaseUser['probe']>): ReturnType<LeaseUser['probe']>;
}

/** What an open disk is to its lease. A class, as whatever there is of each open disk (see `FileBlockStore`). */
class OpenDisk implements LeaseUser {
  readonly name: string;
  readonly isPinnable: boolean;
  readonly accessEpoch: number;
  /** Set by whoever makes both, before anybody asks. */
  session: Session | undefined;
  readonly #asked: AskedOfDisk;

  constructor(name: string, isPinnable: boolean, accessEpoch: number, asked: AskedOfDisk) {
    this.name = name;
    this.isPinnable = isPinnable;
    this.accessEpoch = accessEpoch;
    this.#asked = asked;
  }

  grant(): KeyGrant | undefined {
    return this.session?.held?.grant;
  }
  drop(why: 'lost' | 'ended'): void {
    if (this.session) this.#asked.drop(this.session, why);
  }
  probe(...args: Parameters<LeaseUser['probe']>): Promise<unknown> {
    return this.#asked.probe(this.name, ...args);
  }
}

const noToken = (token: string | undefined): Rejection =>
  token === undefined
    ? new Rejection(
        'UNAUTHENTICATED',
        'DISK_ACCESS_TOKEN_MISSING',
        'metadata "x-interlock-disk-access" must carry the token of OpenDisks or BeginAccess',
      )
    : new Rejection('UNAUTHENTICATED', 'DISK_ACCESS_TOKEN_INVALID', 'the access token does not belong to this disk');
