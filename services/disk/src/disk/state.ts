import type { Grant } from '@interlock/access';
import { type CategoryDefinition, type Stepping, stepIds, withSteps } from '@interlock/event-store';
import type { Principal } from '@interlock/rpc';
import type { Instant } from '@interlock/runtime';
import { evolveMove, type Moves, movesOn, unmoved } from '../fleet/moving.ts';
import { firstHost, ofHost, unfinishedOn } from '../fleet/own.ts';
import { type Encryption, setOf, type VolumeRef, type WrapRef } from './encryption.ts';
import type { AccessLevel, DiskEvent, DiskSpec } from './events.ts';

/** The machine a disk is reserved for. */
export interface Holder {
  readonly virtualMachine: string;
  readonly isOsDisk: boolean;
  /** The machine is deallocated: the disk is RESERVED (VM-07). */
  readonly isDeallocated: boolean;
}

/** Who may read and write now. Only the newest epoch is valid. */
export type DiskAccess = {
  readonly attachEpoch: number;
  readonly tokenHash: string;
  /** Epoch of the host that opened the disk; absent in old rows. */
  readonly hostEpoch?: number;
} & (
  | { readonly by: 'machine' }
  | {
      readonly by: 'user';
      readonly principal: Principal;
      readonly level: AccessLevel;
      readonly expiresAt: Instant;
    }
);

/** A disk that exists. */
export interface ActiveDisk extends DiskSpec, WrapRef, Stepping, Moves {
  readonly status: 'active';
  readonly request: string;
  /** Name of the disk host that has its volumes. */
  readonly host: string;
  readonly volume: VolumeRef;
  readonly createdAt: Instant;
  /** `null`: no machine has it. */
  readonly holder: Holder | null;
  /** `null`: no access is granted. */
  readonly access: DiskAccess | null;
  /** Epoch of the newest access ever given; 0 before the first. */
  readonly attachEpoch: number;
  /** Access epoch of the key version when it was last used for this disk. */
  readonly accessEpoch: number;
  /** The identity that used it at the newest open; absent before the first, and under a key of the platform. */
  readonly principal?: string;
  /** When the class was changed last, at most twice; absent: never. */
  readonly skuChangedAt?: readonly Instant[];
  /** A change of encryption in progress; `null` for none. */
  readonly changing: { readonly encryption: Encryption; readonly volumeId: string } | null;
  /** The newest attach requests, oldest first. A repeat has no effect, also after a detach. */
  readonly attachRequests: readonly string[];
  /** The newest attach requests that were given up, oldest first. If they arrive later, they have no effect. */
  readonly attachesGivenUp?: readonly string[];
}

/** The grant with which the key of a disk was last used. Its identity is known only while a machine has the disk open. */
export const grantOf = ({ accessEpoch, access, principal }: ActiveDisk): Grant =>
  access?.by === 'machine' && principal !== undefined ? { accessEpoch, principal } : { accessEpoch };

/**
 * One disk.
 *
 *   absent ──begin──▶ creating ──finish──▶ active ──delete──▶ deleting ──gone──▶ absent
 *     ▲───────fail──────┘
 *
 * Within active, who holds it (VM-07) and who may read and write are two things:
 *
 *   holder:  none ──attach──▶ allocated ──close(deallocated)──▶ deallocated ──open──▶ allocated;  detach ends it
 *   access:  none ──open──▶ machine ──close, detach──▶ none;   none ──begin access──▶ user ──end, time──▶ none
 */
export type Disk = Stepping &
  (
    | { readonly status: 'absent' }
    | ({
        readonly status: 'creating';
        readonly request: string;
        readonly host: string;
        readonly volumeId: string;
        /** It will not be active: what was made is removed. */
        readonly isFailing?: true;
      } & DiskSpec)
    | ActiveDisk
    | (Omit<ActiveDisk, 'status'> & { readonly status: 'deleting' })
  );

/** Attach requests stored of each kind: more than the start of one machine repeats, few enough to stay small. */
const attachRequestsMax = 32;

export const initial: Disk = { status: 'absent' };

export const evolve = (disk: Disk, event: DiskEvent): Disk => {
  if (event.type === 'DiskCreating') {
    const { type: _type, at: _at, host = firstHost, ...spec } = event;
    return { status: 'creating', host, ...spec };
  }
  if (event.type === 'DiskCreated') {
    if (disk.status !== 'creating') return disk;
    const { type: _type, at, ...created } = event;
    return {
      status: 'active',
      request: disk.request,
      host: disk.host,
      ...created,
      createdAt: at,
      holder: null,
      access: null,
      attachEpoch: 0,
      changing: null,
      attachRequests: [],
      ...unmoved,
    };
  }
  if (event.type === 'DiskCreateFailing') return disk.status === 'creating' ? { ...disk, isFailing: true } : disk;
  if (event.type === 'DiskCreateFailed' || event.type === 'DiskDeleted') return initial;
  return disk.status === 'active' ? evolveActive(disk, event) : disk;
};

const evolveActive = (
  disk: ActiveDisk,
  event: Exclude<
    DiskEvent,
    { type: 'DiskCreating' | 'DiskCreated' | 'DiskCreateFailing' | 'DiskCreateFailed' | 'DiskDeleted' }
  >,
): Disk => {
  switch (event.type) {
    case 'DiskAttached': {
      const { virtualMachine, isOsDisk, requestId } = event;
      const attachRequests = [...disk.attachRequests, requestId].slice(-attachRequestsMax);
      return { ...disk, holder: { virtualMachine, isOsDisk, isDeallocated: false }, access: null, attachRequests };
    }
    case 'DiskOpened': {
      const { attachEpoch, tokenHash, accessEpoch, principal, hostEpoch } = event;
      const { principal: _before, ...rest } = disk;
      const holder = disk.holder && { ...disk.holder, isDeallocated: false };
      const opened = { attachEpoch, accessEpoch, ...(principal === undefined ? {} : { principal }) };
      const openedAt = hostEpoch === undefined ? {} : { hostEpoch };
      return { ...rest, holder, access: { by: 'machine', attachEpoch, tokenHash, ...openedAt }, ...opened };
    }
    case 'DiskClosed': {
      const holder = disk.holder && { ...disk.holder, isDeallocated: event.isDeallocated };
      return { ...disk, holder, access: disk.access?.by === 'user' ? disk.access : null };
    }
    case 'DiskDetached':
      return { ...disk, holder: null, access: disk.access?.by === 'user' ? disk.access : null };
    case 'AttachGivenUp': {
      const attachesGivenUp = [...(disk.attachesGivenUp ?? []), event.requestId].slice(-attachRequestsMax);
      return { ...disk, attachesGivenUp };
    }
    case 'AccessBegun': {
      const { type: _type, at: _at, accessEpoch, ...access } = event;
      return { ...disk, access: { by: 'user', ...access }, attachEpoch: access.attachEpoch, accessEpoch };
    }
    case 'AccessEnded':
      return { ...disk, access: disk.access?.by === 'machine' ? disk.access : null };
    case 'EncryptionChanging':
      return { ...disk, changing: { encryption: event.encryption, volumeId: event.volumeId } };
    case 'EncryptionChangeFailed':
      return { ...disk, changing: null, former: leftHere(disk, disk.changing?.volumeId) };
    case 'DiskEncryptionChanged': {
      const { encryption, volume, keyVersion, generation, accessEpoch } = event;
      return {
        ...disk,
        encryption,
        volume,
        keyVersion,
        generation,
        accessEpoch,
        changing: null,
        former: leftHere(disk, disk.volume.volumeId === volume.volumeId ? undefined : disk.volume.volumeId),
      };
    }
    case 'VolumeMoved': {
      const { access } = disk;
      const { hostEpoch } = event;
      const moved = access === null || hostEpoch === undefined ? access : { ...access, hostEpoch };
      return { ...evolveMove(disk, event), access: moved };
    }
    case 'VolumeMoving':
    case 'VolumeMoveFailed':
    case 'FormerVolumeRemoved':
      return evolveMove(disk, event);
    case 'DekRewrapped': {
      const { keyVersion, generation, accessEpoch } = event;
      return { ...disk, keyVersion, generation, accessEpoch, volume: withHeader(disk, event) };
    }
    case 'DiskGrown': {
      return { ...disk, sizeGib: event.sizeGib, volume: withHeader(disk, event) };
    }
    case 'DiskSkuChanged':
      return { ...disk, sku: event.sku, skuChangedAt: [...(disk.skuChangedAt ?? []).slice(-1), event.at] };
    case 'DiskDeleting':
      return { ...disk, status: 'deleting', access: null };
  }
};

/** A volume that a change of encryption left is at the host of the disk. */
const leftHere = ({ host, former }: ActiveDisk, volumeId: string | undefined): Moves['former'] =>
  volumeId === undefined ? former : { host, volumeId, leftBy: 'encryption' };

const withHeader = (
  { volume }: ActiveDisk,
  { headerSequence, headerDigest }: Pick<VolumeRef, 'headerSequence' | 'headerDigest'>,
): VolumeRef => ({ ...volume, headerSequence, headerDigest });

/** Every volume that a disk may have at its host. */
export const volumesOf = ({
  volume,
  changing,
  host,
  former,
}: Pick<ActiveDisk, 'volume' | 'changing' | 'host' | 'former'>): readonly string[] => [
  volume.volumeId,
  ...(changing === null ? [] : [changing.volumeId]),
  ...(former?.host === host ? [former.volumeId] : []),
];

/** The process of a disk that an event starts or advances. */
export type DiskProcess = 'life' | 'attach' | 'detach' | 'open' | 'close' | 'access' | 'encryption' | 'key' | 'move';

/** The events of the current step of a process of a disk. */
export const diskSteps = (name: string, disk: Stepping, process: DiskProcess): readonly string[] =>
  stepIds(`disk-${name}`, disk, process);

/** By event: what later events of the same process continue, and what a repeated request is answered with. */
const processesOf: Partial<Record<DiskEvent['type'], readonly DiskProcess[]>> = {
  DiskCreating: ['life'],
  DiskCreated: ['life'],
  DiskCreateFailing: ['life'],
  DiskDeleting: ['life'],
  DiskAttached: ['attach'],
  DiskDetached: ['detach'],
  DiskOpened: ['open'],
  DiskClosed: ['close'],
  AccessBegun: ['access'],
  DekRewrapped: ['key'],
  EncryptionChanging: ['encryption'],
  EncryptionChangeFailed: ['encryption'],
  VolumeMoving: ['move'],
  VolumeMoved: ['move'],
  VolumeMoveFailed: ['move'],
  // It also puts the disk under the key in force: a rotation that finds it there names this event.
  DiskEncryptionChanged: ['encryption', 'key'],
};

/**
 * How disks are stored and listed: by set (also the one a change moves to, so that neither can be deleted meanwhile),
 * by key version, by host, and by the host of what is unfinished.
 */
export const disks: CategoryDefinition<Disk, DiskEvent> = {
  name: 'disk',
  readable: [
    ...(['uniqueId', 'location', 'sku', 'sizeGib', 'encryption', 'source', 'host', 'reason'] as const),
    ...(['requestId', 'at'] as const),
    ...(['volumeId', 'volume.volumeId', 'volume.headerSequence', 'headerSequence'] as const),
    ...(['virtualMachine', 'isOsDisk', 'isDeallocated', 'principal', 'level', 'expiresAt', 'attachEpoch'] as const),
    ...(['set', 'previousSet', 'previousKeyVersion', 'keyVersion', 'generation', 'accessEpoch', 'hostEpoch'] as const),
  ],
  stateVersion: 8,
  initial,
  evolve: withSteps(evolve, ({ type }) => processesOf[type] ?? []),
  isGone: (disk) => disk.status === 'absent',
  indexes: (disk) => {
    if (disk.status === 'absent') return [];
    const changing = disk.status === 'active' ? disk.changing : null;
    const sets = new Set([setOf(disk.encryption), changing === null ? '' : setOf(changing.encryption)]);
    const isUnfinished = disk.status !== 'active' || changing !== null;
    const moves = 'volume' in disk ? movesOn(disk) : [];
    const isListed = moves.some(({ value }) => value === disk.host);
    return [
      ...[...sets].filter((set) => set !== '').map((value) => ({ index: 'set', value })),
      ...('keyVersion' in disk && disk.keyVersion !== '' ? [{ index: 'key_version', value: disk.keyVersion }] : []),
      ofHost(disk.host),
      ...(isUnfinished && !isListed ? [unfinishedOn(disk.host)] : []),
      ...moves,
    ];
  },
};
