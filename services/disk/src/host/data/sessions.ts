import { type Cause, Rejection } from '@interlock/event-store';
import type { Clock, KeyedMutex, Logger } from '@interlock/runtime';
import { isLayered, setOf } from '../../disk/encryption.ts';
import type { RetryQueue } from '../../retry-queue.ts';
import type { DekHolder, Deks, OpenDek } from '../keys/deks.ts';
import type { KeyAccess, SetKeyVersion } from '../keys/key-access.ts';
import type { Leases } from '../keys/leases.ts';
import type { Ownership } from '../owner/ownership.ts';
import { EncryptedDisk } from '../pieces/encrypted-disk.ts';
import { createScratch } from '../pieces/scratch.ts';
import type { DiskRecord, DiskRecords, GrantedAccess } from '../records.ts';
import type { Headers } from '../volume/authentic-headers.ts';
import type { Volumes } from '../volume/volumes.ts';
import { epochOfToken, hashAccessToken, noToken } from './access-token.ts';
import { outdated, Session, type SessionParts } from './session.ts';
import { Unpinned } from './unpinned.ts';

/** Accesses read at once. */
const accessesMax = 1_000;

/** What the sessions of a host need. */
export interface SessionsParts {
  readonly records: DiskRecords;
  readonly volumes: Volumes;
  readonly ownership: Pick<Ownership, 'intactSince'>;
  readonly headers: Pick<Headers, 'inspect'>;
  readonly deks: Pick<Deks, 'unwrap' | 'check'>;
  readonly keyAccess: KeyAccess;
  readonly leases: Leases;
  readonly turns: KeyedMutex;
  readonly retries: Pick<RetryQueue, 'add'>;
  readonly openCipher: SessionParts['openCipher'];
  readonly openThreadGate?: SessionParts['openThreadGate'];
  /** Ends a move of a disk that this process does not carry out, in the disk's turn. */
  readonly endForeignMove: (name: string) => Promise<void>;
  /** Ends direct access when its principal loses the right to begin one (see `Holders`). */
  readonly watchHolder: (session: Session) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The open disks of this host: at most one session for each disk, that of its newest attach epoch. */
export class Sessions {
  readonly #parts: SessionsParts;
  readonly #shared: SessionParts;
  readonly #sessions = new Map<string, Session>();
  readonly #scratch = createScratch();
  /** Volumes that ended sessions are closing. */
  readonly #closing = new Map<string, Promise<void>>();
  /** Resumed pinnable sessions without a DEK. */
  readonly #unpinned: Unpinned;
  /** Sessions whose access the records may no longer contain. */
  readonly #doubted = new Set<Session>();
  #closingsApplied = 0;

  constructor(parts: SessionsParts) {
    this.#parts = parts;
    const { keyAccess, leases, clock, openCipher, openThreadGate } = parts;
    const { intactSince } = parts.ownership;
    const probe: SessionParts['probe'] = async (name, terms, cause) => {
      const { holder } = await parts.records.disk(name);
      return parts.deks.check(holder, await parts.headers.inspect(holder), cause, terms);
    };
    this.#shared = { keyAccess, leases, clock, openCipher, openThreadGate, intactSince, probe };
    this.#unpinned = new Unpinned({ keyAccess, log: parts.log, fetchDek: (...given) => this.fetchDek(...given) });
  }

  /**
   * The session of an access token, recreated from the records if this process has none.
   * @throws Rejection UNAUTHENTICATED DISK_ACCESS_TOKEN_MISSING, DISK_ACCESS_TOKEN_INVALID; FAILED_PRECONDITION ATTACH_EPOCH_OUTDATED
   */
  async of(name: string, token: string | undefined): Promise<Session> {
    const attachEpoch = token === undefined ? undefined : epochOfToken(token);
    if (token === undefined || attachEpoch === undefined) throw noToken(token);
    const tokenHash = hashAccessToken(token);
    const admit = (session: Session): Session => {
      if (session.access.tokenHash === tokenHash) return session;
      throw attachEpoch < session.access.attachEpoch ? outdated(name, attachEpoch) : noToken(token);
    };
    const known = this.#sessions.get(name);
    if (known) return admit(known);
    return this.#parts.turns(name, async () => {
      const made = this.#sessions.get(name);
      if (made) return admit(made);
      const since = this.#closingsApplied;
      const record = await this.#parts.records.disk(name);
      const { access } = record;
      if (access === null || attachEpoch < access.attachEpoch) {
        throw attachEpoch <= record.attachEpoch ? outdated(name, attachEpoch) : noToken(token);
      }
      if (access.tokenHash !== tokenHash) throw noToken(token);
      return this.#make({ ...record, access }, since);
    });
  }

  /**
   * Makes the session of a new access, in the disk's turn; an older session ends first. A repeat of the same access keeps its
   * session. Clears the DEK.
   * @param since `closingsApplied` before the record was read
   */
  async begin(record: DiskRecord, opened: OpenDek, since: number): Promise<void> {
    const { access, holder } = record;
    if (access === null) throw new Error('a session begins with an access');
    try {
      const known = this.#sessions.get(holder.name);
      const isSame = known?.access.attachEpoch === access.attachEpoch && known.access.tokenHash === access.tokenHash;
      if (isSame && known.hasDek) return;
      (isSame ? known : await this.#make({ ...record, access }, since)).giveDek(opened);
    } finally {
      opened.dek.fill(0);
    }
  }

  /**
   * Ends a disk's session. Its DEK is overwritten before this returns. Rule CMK-102.
   * @param last what is done before the volume is closed, when nothing writes any more
   * @param refusal what reads and writes under way are answered; absent: that a newer access ended theirs
   */
  end(name: string, last?: (session: Session) => Promise<unknown>, refusal?: Rejection): void {
    const session = this.#sessions.get(name);
    if (!session) return;
    session.refusal = refusal;
    this.#unpinned.delete(session);
    this.#sessions.delete(name);
    session.end();
    const closed = Promise.allSettled([this.#closing.get(name), ...(session.writes ?? [])])
      .then(() => session.disk.close(() => last?.(session)))
      .catch((error: unknown) => this.#parts.log.error('a volume could not be closed', { disk: name, error }))
      .finally(() => {
        if (this.#closing.get(name) === closed) this.#closing.delete(name);
      });
    this.#closing.set(name, closed);
  }

  /** As of the session of a disk; undefined also without one. */
  whyItStays(name: string): string | undefined {
    return this.#sessions.get(name)?.whyItStays;
  }

  /**
   * The store did not respond to a commit that begins or ends an access to this disk. As soon as it does, the session ends
   * unless the records still contain its access.
   */
  doubt(name: string): void {
    const session = this.#sessions.get(name);
    if (!session || this.#doubted.has(session)) return;
    this.#doubted.add(session);
    this.#parts.retries.add(name, async () => {
      const access = await this.#accessOf(name);
      this.#doubted.delete(session);
      const isCurrent = this.#sessions.get(name) === session;
      if (isCurrent && access?.attachEpoch !== session.access.attachEpoch) this.end(name);
    });
  }

  /** How often `endClosed` has begun. */
  get closingsApplied(): number {
    return this.#closingsApplied;
  }

  /**
   * Ends each session whose access the records do not contain any more: a control process ended it without this host. What was read
   * from the records before this call makes no session any more.
   */
  async endClosed(): Promise<void> {
    this.#closingsApplied += 1;
    const open = [...this.#sessions.values()];
    for (let first = 0; first < open.length; first += accessesMax) {
      const batch = open.slice(first, first + accessesMax);
      const recorded = await this.#parts.records.accesses(batch.map(({ name }) => name));
      for (const session of batch) {
        const found = recorded.get(session.name);
        const isCurrent = this.#sessions.get(session.name) === session;
        if (isCurrent && found?.access?.attachEpoch !== session.access.attachEpoch) this.end(session.name);
      }
    }
  }

  /**
   * Ends every session, flushes its disk, and waits until the volumes are closed.
   * @returns whether all acknowledged writes of all recorded accesses are on stable storage
   */
  async close(): Promise<boolean> {
    const flushed = new Set<string>();
    const flush = async (session: Session): Promise<void> => {
      await session.disk.flush();
      flushed.add(session.name);
    };
    for (const name of [...this.#sessions.keys()]) this.end(name, flush);
    await Promise.all(this.#closing.values());
    try {
      for await (const name of this.#parts.records.withAccess()) if (!flushed.has(name)) return false;
      return true;
    } catch (error) {
      this.#parts.log.warn('whether every open disk was flushed is unknown: the store is unreachable', { error });
      return false;
    }
  }

  /** Names of the disks that are open here. */
  names(): readonly string[] {
    return [...this.#sessions.keys()];
  }

  has(name: string): boolean {
    return this.#sessions.has(name);
  }

  /** Whether a running machine uses this disk here although the lease of its key is not held. */
  isPinned(name: string): boolean {
    return this.#sessions.get(name)?.isPinned === true;
  }

  /** Notes that a disk's DEK is wrapped by another key version (`Session.rewrapped`). */
  rewrapped(name: string, key: SetKeyVersion): void {
    void this.#sessions.get(name)?.rewrapped(key);
  }

  /**
   * Unwraps the DEK of a session again, once for all callers. It may still be missing afterwards: if the lease is not held, or
   * the disk moved to another version meanwhile. @throws as `Deks.unwrap`
   */
  fetchDek(session: Session, cause: Cause): Promise<void> {
    session.fetching ??= this.#fetch(session, cause).finally(() => {
      session.fetching = undefined;
    });
    return session.fetching;
  }

  /**
   * Recreates the sessions of the previous process, without DEKs. A pinnable session gets its DEK as soon as the lease is
   * held, even before a read: otherwise there would be no DEK to keep during a loss (CMK-102).
   */
  async resume(cause: Cause): Promise<void> {
    for await (const name of this.#parts.records.withAccess()) await this.resumeOne(name, cause);
  }

  async #accessOf(name: string): Promise<GrantedAccess | null> {
    try {
      return (await this.#parts.records.disk(name)).access;
    } catch (error) {
      // The disk is being deleted, or does not exist any more.
      if (error instanceof Rejection && (error.code === 'NOT_FOUND' || error.code === 'ABORTED')) return null;
      throw error;
    }
  }

  /** @param since `closingsApplied` before the record was read */
  async #make(record: DiskRecord & { readonly access: GrantedAccess }, since: number): Promise<Session> {
    const { holder, access, isMoving } = record;
    // An earlier process of this folder may still be about to record the end of a move: it would lose what is written from now on (G5).
    if (isMoving) await this.#parts.endForeignMove(holder.name);
    this.end(holder.name);
    await this.#closing.get(holder.name);
    const { volume, keyVersion } = await this.#openVolume(holder);
    try {
      for (let applied = since; applied !== this.#closingsApplied; ) {
        applied = this.#closingsApplied;
        const { attachEpoch } = (await this.#accessOf(holder.name)) ?? {};
        if (attachEpoch !== access.attachEpoch) throw outdated(holder.name, access.attachEpoch);
      }
    } catch (error) {
      await volume.close();
      throw error;
    }
    const session = new Session(record, new EncryptedDisk(volume, undefined, this.#scratch), this.#shared);
    this.#sessions.set(holder.name, session);
    const set = setOf(holder.encryption);
    if (set !== '') session.moveTo({ set, keyVersion });
    void this.#endAtExpiry(session);
    void this.#parts.watchHolder(session);
    return session;
  }

  /** @returns the volume, and the key version of its header, which may be ahead of the events */
  async #openVolume(holder: DekHolder) {
    const { volumes, headers } = this.#parts;
    const { volumeId } = holder.volume;
    const release = volumes.keepHeader(volumeId);
    try {
      // A crash may have left the previous slot.
      const { wrap } = await headers.inspect(holder, 'erase previous');
      return { volume: await volumes.open(volumeId, isLayered(holder.encryption)), keyVersion: wrap.keyVersion };
    } finally {
      await release();
    }
  }

  /** The DEK of an expired access does not stay in memory until the next use. */
  async #endAtExpiry({ name, expiresAt, ending }: Session): Promise<void> {
    if (expiresAt === undefined) return;
    const { clock } = this.#parts;
    await clock.sleep(Math.max(0, expiresAt - clock.now()), ending.signal);
    if (!ending.signal.aborted) this.end(name);
  }

  /**
   * Not in the disk's turn: an open holds the turn while it waits for the writes of the previous session, and those may wait
   * here. A rewrap changes the lease of the session, so an outdated reply is recognized by its lease.
   */
  async #fetch(session: Session, cause: Cause): Promise<void> {
    const { records, headers, deks } = this.#parts;
    const { name, lease } = session;
    const { holder } = await records.disk(name);
    const header = await headers.inspect(holder);
    // An ended session must not join a lease: it would never leave it.
    if (session.isEnded) throw outdated(name, session.access.attachEpoch);
    if (lease && header.wrap.keyVersion !== lease.key.keyVersion) {
      if (session.lease === lease) session.moveTo({ set: lease.key.set, keyVersion: header.wrap.keyVersion });
      return;
    }
    const grant = lease?.isHeld() ? lease.grant() : undefined;
    if (lease && !grant) return;
    const opened = await deks.unwrap(holder, header, cause, grant).catch((error: unknown) => {
      // The vault refused a version that the disk has left meanwhile.
      if (session.isEnded || session.lease === lease) throw error;
      return undefined;
    });
    try {
      if (session.isEnded) throw outdated(name, session.access.attachEpoch);
      if (opened && session.lease === lease) session.giveDek(opened);
    } finally {
      opened?.dek.fill(0);
    }
  }

  /** The same for one disk. If this fails, the first read or write makes the session, and reports the error. */
  resumeOne(name: string, cause: Cause): Promise<void> {
    const { turns, records, log } = this.#parts;
    return turns(name, async () => {
      const since = this.#closingsApplied;
      const record = await records.disk(name);
      const { access } = record;
      if (access === null || this.#sessions.has(name)) return;
      const session = await this.#make({ ...record, access }, since);
      if (!session.isPinnable || session.lease === undefined) return;
      this.#unpinned.add(session, cause);
    }).catch((error: unknown) => log.error('an open disk could not be resumed', { disk: name, error }));
  }
}
