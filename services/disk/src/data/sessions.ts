import { type Category, type Cause, type Loaded, Rejection } from '@interlock/event-store';
import type { Clock, Logger } from '@interlock/runtime';
import { openDiskCipher } from '../dek.ts';
import { diskClasses } from '../disk/classes.ts';
import { accessAt, existing } from '../disk/decider.ts';
import type { DiskEvent } from '../disk/events.ts';
import type { ActiveDisk, Disk } from '../disk/state.ts';
import { createEncryptedDisk } from '../encrypted-disk.ts';
import { setOf } from '../encryption.ts';
import type { Deks, OpenDek } from '../keys/deks.ts';
import type { KeyAccess, KeyGrant, SetKeyVersion } from '../keys/key-access.ts';
import type { Turns } from '../turns.ts';
import { currentHeader } from '../volume/headers.ts';
import type { Volumes } from '../volume/volumes.ts';
import type { XtsMask } from '../xts-mask.ts';
import { epochOfToken, hashAccessToken } from './access-token.ts';
import { isPinned, outdated, type Session } from './session.ts';

/** The disks that are open on this host: at most one session a disk, that of its newest epoch. */
export interface Sessions {
  /**
   * The session a token belongs to, made again from the events where this process has none.
   * @throws Rejection UNAUTHENTICATED DISK_ACCESS_TOKEN_MISSING, DISK_ACCESS_TOKEN_INVALID; FAILED_PRECONDITION ATTACH_EPOCH_OUTDATED
   */
  of(name: string, token: string | undefined): Promise<Session>;
  /** Makes the session of the disk's newest access, in its turn; an older one ends first. Clears the DEK. */
  begin(disk: Loaded<ActiveDisk>, opened: OpenDek): Promise<void>;
  /** Ends a disk's session: its DEK is overwritten before this returns. Rule CMK-102. */
  end(name: string): void;
  /** Ends every session and waits until their volumes are given free. */
  close(): Promise<void>;
  /**
   * Notes that a disk's DEK is under another version; its value, and so I/O, stay (CMK-15, CMK-82).
   * @param grant the yes to the new version; without it the DEK is fetched again with the next read
   */
  rewrapped(name: string, key: SetKeyVersion, grant: KeyGrant | undefined): void;
  /** Gets the DEK of a session again. @throws as unwrapping does */
  fetchDek(session: Session, cause: Cause): Promise<void>;
  /** Whether a lost key still serves a running machine here. */
  isPinned(name: string): boolean;
}

/** Nothing is open yet. Losses drop the DEKs they concern from here on. */
export const openSessions = (parts: {
  readonly disks: Category<Disk, DiskEvent>;
  readonly volumes: Volumes;
  readonly deks: Deks;
  readonly keyAccess: KeyAccess;
  readonly turns: Turns;
  readonly mask: XtsMask | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}): Sessions => {
  const { disks, volumes, deks, keyAccess, turns, mask, clock, log } = parts;
  const sessions = new Map<string, Session>();
  const byKey = new Map<string, Set<Session>>();
  /** Volumes being given free by ended sessions. */
  const ending = new Map<string, Promise<void>>();

  const keyName = ({ set, keyVersion }: SetKeyVersion): string => `${set}\n${keyVersion}`;
  const index = (session: Session): void => {
    if (!session.key) return;
    const name = keyName(session.key);
    byKey.set(name, (byKey.get(name) ?? new Set()).add(session));
  };
  const unindex = (session: Session): void => {
    if (!session.key) return;
    const name = keyName(session.key);
    const under = byKey.get(name);
    under?.delete(session);
    if (under?.size === 0) byKey.delete(name);
  };
  /** Always another object, by which a fetch sees that the DEK was moved. */
  const moveTo = (session: Session, { set, keyVersion }: SetKeyVersion): void => {
    unindex(session);
    session.key = { set, keyVersion };
    index(session);
  };
  const drop = (session: Session): void => {
    session.held = undefined;
    session.disk.dropKey();
  };

  keyAccess.onLoss((key, concerns) => {
    for (const session of byKey.get(keyName(key)) ?? []) {
      const grant = session.held?.grant;
      if (grant && concerns(grant) && !session.isPinnable) drop(session);
    }
  });

  const end = (name: string): void => {
    const session = sessions.get(name);
    if (!session) return;
    session.isEnded = true;
    session.ending.abort();
    sessions.delete(name);
    unindex(session);
    drop(session);
    const freed = Promise.allSettled([ending.get(name), ...session.writes])
      .then(() => session.disk.close())
      .catch((error: unknown) => log.error('a volume could not be given free', { disk: name, error }))
      .finally(() => {
        if (ending.get(name) === freed) ending.delete(name);
      });
    ending.set(name, freed);
  };

  const make = async (
    { id: name, state }: Loaded<ActiveDisk>,
    access: NonNullable<ActiveDisk['access']>,
  ): Promise<Session> => {
    end(name);
    await ending.get(name);
    const { store, gate } = await volumes.open(state.volume.volumeId);
    const set = setOf(state.encryption);
    const session: Session = {
      name,
      attachEpoch: access.attachEpoch,
      tokenHash: access.tokenHash,
      level: access.by === 'machine' ? 'write' : access.level,
      expiresAt: access.by === 'machine' ? undefined : access.expiresAt,
      isPinnable: access.by === 'machine' && diskClasses[state.sku].outlivesKeyLoss,
      disk: createEncryptedDisk(store),
      gate,
      writes: new Set(),
      key: set === '' ? undefined : { set, keyVersion: state.keyVersion },
      held: undefined,
      isEnded: false,
      ending: new AbortController(),
      fetching: undefined,
    };
    sessions.set(name, session);
    index(session);
    void endAtExpiry(session);
    return session;
  };

  /** A DEK does not stay in memory until somebody asks whether its time is over. */
  const endAtExpiry = async ({ name, expiresAt, ending: { signal } }: Session): Promise<void> => {
    if (expiresAt === undefined) return;
    await clock.sleep(Math.max(0, expiresAt - clock.now()), signal);
    if (!signal.aborted) end(name);
  };

  const give = (session: Session, { dek, grant }: OpenDek): void => {
    session.disk.giveKey(openDiskCipher(dek, mask));
    dek.fill(0);
    session.held = { grant };
    // A loss heard since the vault said yes found no DEK here to drop.
    const { key, isPinnable } = session;
    if (key && grant && !isPinnable && keyAccess.lossConcerning(key, grant)) drop(session);
  };

  /**
   * Without the disk's turn: an open waits in it for the writes of the session before, and those may wait here. What moves
   * the DEK to another version replaces `session.key`, so an answer about the old version is known by that and asked for again.
   */
  const fetch = async (session: Session, cause: Cause): Promise<void> => {
    const { name } = session;
    for (let isGiven = false; !isGiven; ) {
      const { key } = session;
      const disk = existing((await disks.load(name)).state);
      const header = await currentHeader(volumes, disk.volume.volumeId);
      const opened = await deks.unwrap({ ...disk, name }, header, cause);
      try {
        if (session.isEnded) throw outdated(name, session.attachEpoch);
        if (session.key !== key) continue;
        // The header may be ahead of the events: it says which version a loss must be of.
        if (key) moveTo(session, { set: key.set, keyVersion: header.wrap.keyVersion });
        give(session, opened);
        isGiven = true;
      } finally {
        opened.dek.fill(0);
      }
    }
  };

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
        give(await make(loaded, access), opened);
      } finally {
        opened.dek.fill(0);
      }
    },
    end,
    async close() {
      for (const name of [...sessions.keys()]) end(name);
      await Promise.all(ending.values());
    },
    rewrapped(name, key, grant) {
      const session = sessions.get(name);
      if (!session?.key) return;
      const isSame = keyName(session.key) === keyName(key);
      moveTo(session, key);
      if (isSame) return;
      if (grant && session.held) session.held = { grant };
      // Nobody said yes to the new version: the next read asks. A pinned DEK is kept, for it needs no yes.
      else if (!session.isPinnable) drop(session);
    },
    fetchDek(session, cause) {
      session.fetching ??= fetch(session, cause).finally(() => {
        session.fetching = undefined;
      });
      return session.fetching;
    },
    isPinned: (name) => {
      const session = sessions.get(name);
      return session !== undefined && isPinned(session, keyAccess);
    },
  };
};

const noToken = (token: string | undefined): Rejection =>
  token === undefined
    ? new Rejection(
        'UNAUTHENTICATED',
        'DISK_ACCESS_TOKEN_MISSING',
        'metadata "x-interlock-disk-access" must carry the token of OpenDisk or BeginAccess',
      )
    : new Rejection('UNAUTHENTICATED', 'DISK_ACCESS_TOKEN_INVALID', 'the access token is none of this disk');
