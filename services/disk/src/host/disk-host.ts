import { type Grant, lossReasonIn } from '@interlock/access';
import type { KeyAccess as GrantedAccess } from '@interlock/contracts/interlock/access/v1/access.ts';
import { type Cause, Rejection } from '@interlock/event-store';
import { type Encryption, isLayered, setOf } from '../disk/encryption.ts';
import type { Step } from '../step-barrier.ts';
import type { Background } from './background.ts';
import type { Sessions } from './data/sessions.ts';
import type { DekWrap, DiskHeader } from './header/disk-header-format.ts';
import type { DekHolder, Deks, OpenDek } from './keys/deks.ts';
import type { KeyAccess, SetKeyVersion } from './keys/key-access.ts';
import { type KeyUnavailable, keyLost } from './keys/key-reasons.ts';
import type { KeyGrant } from './keys/lease.ts';
import type { Leases } from './keys/leases.ts';
import type { SetKey } from './keys/set-keys.ts';
import type { CheckTerms, Vault, VaultQuestion } from './keys/vault.ts';
import type { DiskRecord } from './records.ts';
import type { Headers, HeaderUse } from './volume/authentic-headers.ts';
import { type HeaderChange, replaceHeader } from './volume/replace-header.ts';
import type { FollowedVolume, StoredPiece, StoredRange } from './volume/stored-volume.ts';
import { type CommitMade, outlastingItsCall, type VolumeMaking, type VolumeSpec } from './volume/volume-making.ts';
import type { Volumes } from './volume/volumes.ts';

export type {
  DekHolder,
  DiskHeader,
  DiskRecord,
  FollowedVolume,
  KeyGrant,
  KeyUnavailable,
  SetKey,
  SetKeyVersion,
  StoredPiece,
  StoredRange,
  VolumeSpec,
};
export { outlastingItsCall };

/** A disk whose DEK was unwrapped for a new access. */
export interface PreparedOpen {
  /** The header that was unwrapped. */
  readonly header: DiskHeader;
  /** The grant of the vault; undefined under a platform key. */
  readonly grant: KeyGrant | undefined;
  /** @throws Rejection a reason of key loss, if a loss arrived after the grant: a disk that was not open is not pinned */
  refuseLost(): void;
  /** Lets the newest access of the disk read and write; an earlier access ends. */
  begin(record: DiskRecord): Promise<void>;
  /** Overwrites the DEK unless it is in use. Call it in any case. */
  discard(): Promise<void>;
}

/** A wrap that moved to another key version. */
export interface Rewrapped {
  readonly wrap: DekWrap;
  /** Undefined if the wrap was under that version already. */
  readonly grant: KeyGrant | undefined;
}

/**
 * What the control side needs of the host that owns the volumes. The host executes; it never decides what a key means. The
 * control side touches neither files nor DEKs. Today both are one process.
 *
 * A repeat is recognized by the volume id of the attempt (`make`, `copy`, `delete`) or by the header sequence that a change was
 * prepared from (`replaceHeader`, `grow`). A `commit` runs between the new header and the erasure of the old one.
 */
export interface DiskHost {
  /** Epoch of this host (`Ownership.epoch`). The event of each open records it. */
  readonly epoch: number;
  /** Makes a volume under a fresh DEK: empty, or a copy (`VolumeMaking.fresh`). */
  make<Result>(spec: VolumeSpec, cause: Cause, commit: CommitMade<Result>): Promise<Result>;
  /** Makes a volume with the ciphertext and the wrap of another (`VolumeMaking.shared`). */
  copy(source: DekHolder, volumeId: string, cause: Cause): Promise<DiskHeader>;
  /** Wraps the DEK of a disk under another set, or a platform key (`VolumeMaking.rewrapInPlace`). */
  rewrapInPlace<Result>(
    holder: DekHolder,
    target: { readonly encryption: Encryption; readonly location: string },
    cause: Cause,
    commit: CommitMade<Result>,
  ): Promise<Result>;
  /** Removes a volume for good; every use of it ends. */
  delete(volumeId: string): Promise<void>;
  /** Bytes of storage that a volume takes; 0 if it does not exist. */
  allocatedBytes(volumeId: string): Promise<number>;
  /** Makes a volume larger: first its data, then its header, then `commit`. Needs no key. */
  grow(holder: DekHolder, sizeBytes: number, commit: (header: DiskHeader) => Promise<unknown>): Promise<void>;

  /** As the methods of `Volumes`: a volume as it is stored, for a move to another host. */
  storedBytes(volumeId: string, isLayered: boolean): Promise<number>;
  readStored(volumeId: string, isLayered: boolean, range: StoredRange): AsyncIterable<StoredPiece>;
  expect(volumeId: string, shape: { readonly sizeBytes: number; readonly isLayered: boolean }): Promise<void>;
  receive(volumeId: string, pieces: AsyncIterable<StoredPiece>): Promise<Buffer>;
  seal(volumeId: string, header: DiskHeader): Promise<void>;
  follow(volumeId: string, isLayered: boolean): Promise<FollowedVolume>;

  /** The header of a disk or snapshot (`Headers.inspect`). */
  inspect(holder: DekHolder, use?: HeaderUse): Promise<DiskHeader>;
  /** Keeps a header open for a process of several steps. @returns ends that */
  keepHeader(volumeId: string): () => Promise<void>;
  /** As the function `replaceHeader`. */
  replaceHeader<Committed>(
    volumeId: string,
    expected: DiskHeader,
    change: HeaderChange,
    commit: (header: DiskHeader) => Promise<Committed>,
  ): Promise<{ readonly header: DiskHeader; readonly committed: Committed }>;

  /** Moves the wrap of a header to a key version, inside the vault. @throws Rejection a reason of key loss; UNAVAILABLE */
  rewrap(holder: DekHolder, header: DiskHeader, key: SetKey): Promise<Rewrapped>;
  /** Obtains the lease of a key version for an open disk, unless it is held. @throws as `rewrap` */
  obtainLease(holder: DekHolder, key: SetKey, wrapped: Uint8Array): Promise<void>;
  /** Checks a key version with the vault, as the identity of a set. */
  checkKey(question: VaultQuestion, wrapped?: Uint8Array, terms?: CheckTerms): Promise<GrantedAccess>;

  /**
   * Unwraps the DEK of a disk for a new access. The vault is called in any case.
   * @param step waits for disks that are opened together, before the vault is called: they share one check and one message
   * @returns undefined if the disk left the refused key version meanwhile
   * @throws Rejection a reason of key loss; DATA_LOSS HEADER_CORRUPT, WRONG_DEK, VOLUME_MISSING; UNAVAILABLE
   */
  prepareOpen(holder: DekHolder, cause: Cause, step?: Step): Promise<PreparedOpen | undefined>;
  /** Has the vault check whether the DEK of a header can be unwrapped; wins the lease of its key. @throws as `prepareOpen` */
  checkDek(holder: DekHolder, header: DiskHeader, cause: Cause): Promise<void>;
  /** Ends the access to a disk that another host has by now. @param refusal what its reads and writes under way are answered */
  handOver(name: string, refusal: Rejection): void;
  /** Why an open disk stays here, in words; undefined: it may move. */
  whyItStays(name: string): string | undefined;
  isOpen(name: string): boolean;
  resumeAccess(name: string, cause: Cause): Promise<void>;
  /** Ends the access to a disk here; its DEK is overwritten before this returns. */
  close(name: string): void;
  /** As `Sessions.doubt`: the store did not respond to a commit that begins or ends an access. */
  doubt(name: string): void;
  /** Notes that the DEK of a disk is wrapped by another key version, for its open access. */
  keyMoved(name: string, key: SetKeyVersion): void;
  /** Whether a running machine uses the disk although its key is lost. */
  isPinned(name: string): boolean;
  /**
   * Why data under a key is out of reach; undefined: as far as known it is not.
   * @param opened the grant of an open disk: only a published loss that concerns it counts
   */
  lossOf(key: SetKeyVersion, opened?: Grant): KeyUnavailable | undefined;
  /** Whether any key version of a set is out of reach. */
  isAnyLost(set: string): boolean;
  /** Runs work of low priority, in step with others, beside the reads and writes of guests. */
  inBackground<Result>(work: (step: Step) => Promise<Result>): Promise<Result>;
}

/** What a host in this process consists of. */
export interface LocalDiskHostParts {
  readonly volumes: Volumes;
  readonly headers: Headers;
  readonly making: VolumeMaking;
  readonly deks: Deks;
  readonly vault: Vault;
  readonly sessions: Sessions;
  readonly keyAccess: KeyAccess;
  readonly leases: Leases;
  readonly background: Background;
}

/** The host in this process. */
export class LocalDiskHost implements DiskHost {
  readonly #parts: LocalDiskHostParts;

  constructor(parts: LocalDiskHostParts) {
    this.#parts = parts;
  }

  get epoch(): number {
    return this.#parts.volumes.hostEpoch;
  }
  make<Result>(spec: VolumeSpec, cause: Cause, commit: CommitMade<Result>): Promise<Result> {
    return this.#parts.making.fresh(spec, cause, commit);
  }
  copy(source: DekHolder, volumeId: string, cause: Cause): Promise<DiskHeader> {
    return this.#parts.making.shared(source, volumeId, cause);
  }
  rewrapInPlace<Result>(
    holder: DekHolder,
    target: { readonly encryption: Encryption; readonly location: string },
    cause: Cause,
    commit: CommitMade<Result>,
  ): Promise<Result> {
    return this.#parts.making.rewrapInPlace(holder, target, cause, commit);
  }
  delete(volumeId: string): Promise<void> {
    return this.#parts.volumes.remove(volumeId);
  }
  allocatedBytes(volumeId: string): Promise<number> {
    return this.#parts.volumes.allocatedBytes(volumeId);
  }

  async grow(holder: DekHolder, sizeBytes: number, commit: (header: DiskHeader) => Promise<unknown>): Promise<void> {
    const { volumes, headers } = this.#parts;
    const { volumeId } = holder.volume;
    const { store, close } = await volumes.open(volumeId, isLayered(holder.encryption));
    try {
      if (store.size() < sizeBytes) await store.grow(sizeBytes);
      await store.flush();
    } finally {
      await close();
    }
    const header = await headers.inspect(holder);
    if (header.size < sizeBytes) await replaceHeader(volumes, volumeId, header, { size: sizeBytes }, commit);
  }

  storedBytes(volumeId: string, isLayered: boolean): Promise<number> {
    return this.#parts.volumes.storedBytes(volumeId, isLayered);
  }
  readStored(volumeId: string, isLayered: boolean, range: StoredRange): AsyncIterable<StoredPiece> {
    return this.#parts.volumes.readStored(volumeId, isLayered, range);
  }
  expect(volumeId: string, shape: { readonly sizeBytes: number; readonly isLayered: boolean }): Promise<void> {
    return this.#parts.volumes.expect(volumeId, shape);
  }
  receive(volumeId: string, pieces: AsyncIterable<StoredPiece>): Promise<Buffer> {
    return this.#parts.volumes.receive(volumeId, pieces);
  }
  seal(volumeId: string, header: DiskHeader): Promise<void> {
    return this.#parts.volumes.seal(volumeId, header);
  }
  follow(volumeId: string, isLayered: boolean): Promise<FollowedVolume> {
    return this.#parts.volumes.follow(volumeId, isLayered);
  }

  inspect(holder: DekHolder, use?: HeaderUse): Promise<DiskHeader> {
    return this.#parts.headers.inspect(holder, use);
  }
  keepHeader(volumeId: string): () => Promise<void> {
    return this.#parts.volumes.keepHeader(volumeId);
  }
  replaceHeader<Committed>(
    volumeId: string,
    expected: DiskHeader,
    change: HeaderChange,
    commit: (header: DiskHeader) => Promise<Committed>,
  ): Promise<{ readonly header: DiskHeader; readonly committed: Committed }> {
    return replaceHeader(this.#parts.volumes, volumeId, expected, change, commit);
  }

  async rewrap(holder: DekHolder, { wrap }: DiskHeader, key: SetKey): Promise<Rewrapped> {
    const { principal, keyVersion } = key;
    if (wrap.keyVersion === keyVersion) return { wrap, grant: undefined };
    const set = setOf(holder.encryption);
    const question = { set, principal, keyVersion: wrap.keyVersion, resource: holder.name };
    const { wrapped, grant } = await this.#parts.vault.rewrap(question, keyVersion, wrap.wrapped);
    await this.obtainLease(holder, key, wrapped);
    return { wrap: { ...wrap, keyVersion, wrapped: Uint8Array.from(wrapped) }, grant };
  }

  async obtainLease({ name, encryption }: DekHolder, key: SetKey, wrapped: Uint8Array): Promise<void> {
    const { sessions, keyAccess, vault } = this.#parts;
    const { principal, keyVersion } = key;
    const set = setOf(encryption);
    if (!sessions.has(name) || keyAccess.lease({ set, keyVersion }).isHeld()) return;
    await vault.check({ set, keyVersion, principal, resource: name }, wrapped);
  }

  async checkKey(question: VaultQuestion, wrapped?: Uint8Array, terms?: CheckTerms): Promise<GrantedAccess> {
    return (await this.#parts.vault.check(question, wrapped, terms)).access;
  }

  async prepareOpen(holder: DekHolder, cause: Cause, step?: Step): Promise<PreparedOpen | undefined> {
    const { volumes, headers } = this.#parts;
    // The header is read again in the disk's turn, and when the volume is opened.
    const release = volumes.keepHeader(holder.volume.volumeId);
    let opened: OpenDek | undefined;
    try {
      const header = await headers.inspect(holder);
      await step?.();
      opened = await this.#unwrapped(holder, header, cause);
      if (opened) return this.#prepared(holder, header, opened, release);
    } finally {
      if (!opened) await release();
    }
    return undefined;
  }

  async checkDek(holder: DekHolder, header: DiskHeader, cause: Cause): Promise<void> {
    await this.#parts.deks.check(holder, header, cause);
  }
  handOver(name: string, refusal: Rejection): void {
    this.#parts.sessions.end(name, undefined, refusal);
  }
  whyItStays(name: string): string | undefined {
    return this.#parts.sessions.whyItStays(name);
  }
  isOpen(name: string): boolean {
    return this.#parts.sessions.has(name);
  }
  resumeAccess(name: string, cause: Cause): Promise<void> {
    return this.#parts.sessions.resumeOne(name, cause);
  }
  close(name: string): void {
    this.#parts.sessions.end(name);
  }
  doubt(name: string): void {
    this.#parts.sessions.doubt(name);
  }
  keyMoved(name: string, key: SetKeyVersion): void {
    this.#parts.sessions.rewrapped(name, key);
  }
  isPinned(name: string): boolean {
    return this.#parts.sessions.isPinned(name);
  }
  lossOf(key: SetKeyVersion, opened?: Grant): KeyUnavailable | undefined {
    const { keyAccess, leases } = this.#parts;
    const loss = opened === undefined ? keyAccess.lossOf(key) : keyAccess.lossAfter(key, opened);
    return loss ?? leases.outageOf(key);
  }
  isAnyLost(set: string): boolean {
    const { keyAccess, leases } = this.#parts;
    return keyAccess.isAnyLost(set) || leases.isAnyOut(set);
  }
  inBackground<Result>(work: (step: Step) => Promise<Result>): Promise<Result> {
    return this.#parts.background.run(work);
  }

  /** @returns undefined if the disk left the refused key version meanwhile */
  async #unwrapped(holder: DekHolder, header: DiskHeader, cause: Cause): Promise<OpenDek | undefined> {
    const { deks, headers } = this.#parts;
    try {
      return await deks.unwrap(holder, header, cause);
    } catch (error) {
      if (lossReasonIn(error) === undefined) throw error;
      const { sequence } = await headers.inspect(holder);
      if (sequence === header.sequence) throw error;
      return undefined;
    }
  }

  #prepared(
    { name, encryption }: DekHolder,
    header: DiskHeader,
    opened: OpenDek,
    release: () => Promise<void>,
  ): PreparedOpen {
    const { keyAccess, sessions } = this.#parts;
    const { grant } = opened;
    // The record of the access is read after this.
    const since = sessions.closingsApplied;
    return {
      header,
      grant,
      refuseLost() {
        const key = { set: setOf(encryption), keyVersion: header.wrap.keyVersion };
        const loss = grant && keyAccess.lossConcerning(key, grant);
        if (loss) throw keyLost({ ...key, resource: name }, loss);
      },
      begin: (record) => sessions.begin(record, opened, since),
      async discard() {
        opened.dek.fill(0);
        await release();
      },
    };
  }
}

/** Whether storage returned something else than this service wrote; the resource needs an operator. */
export const isDamaged = (error: unknown): boolean => error instanceof Rejection && error.code === 'DATA_LOSS';
