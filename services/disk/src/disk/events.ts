import type { Principal } from '@interlock/rpc';
import type { Instant } from '@interlock/runtime';
import type { MoveEvent } from '../fleet/moving.ts';
import type { Encryption, Sku, VolumeRef, WrapRef } from './encryption.ts';

/** The requested properties of a disk. */
export interface DiskSpec {
  /** UUID; a later disk of the same name has another. */
  readonly uniqueId: string;
  readonly location: string;
  readonly sku: Sku;
  readonly sizeGib: number;
  readonly encryption: Encryption;
  /** Name of the disk or snapshot it is a copy of; `''` for an empty one. */
  readonly source: string;
}

/** How far direct access goes. */
export type AccessLevel = 'read' | 'write';

/** The facts of one disk. These names and shapes are on disk: add; never rename, never reuse. Wraps are in the header, and in the
 * row that is committed with its event (`StoredHeaders`): an event outlasts a rotation, and a wrap must not. */
export type DiskEvent =
  | ({
      /** The barrier: from here on the set is in use, and the volume is to be removed unless `DiskCreated` follows. */
      readonly type: 'DiskCreating';
      readonly volumeId: string;
      /** The request in canonical form, so that a repeat is recognised after the disk has changed. */
      readonly request: string;
      /** Name of the disk host that has the volume; absent in old events: `firstHost`. */
      readonly host?: string;
      readonly at: Instant;
    } & DiskSpec)
  | ({
      readonly type: 'DiskCreated';
      readonly volume: VolumeRef;
      readonly accessEpoch: number;
      readonly at: Instant;
    } & DiskSpec &
      WrapRef)
  /** The outcome of `DiskCreated` was uncertain: from here on it cannot follow, and the volume is removed. */
  | { readonly type: 'DiskCreateFailing'; readonly at: Instant }
  | { readonly type: 'DiskCreateFailed'; readonly reason: string; readonly at: Instant }
  | {
      readonly type: 'DiskAttached';
      readonly virtualMachine: string;
      readonly isOsDisk: boolean;
      readonly requestId: string;
      readonly at: Instant;
    }
  | {
      readonly type: 'DiskOpened';
      readonly attachEpoch: number;
      readonly virtualMachine: string;
      /** SHA-256 of the access token, base64url. */
      readonly tokenHash: string;
      readonly accessEpoch: number;
      /** The identity that called the vault; absent under a key of the platform, and in old events. */
      readonly principal?: string;
      /** Epoch of the host that opened it; absent in old events. */
      readonly hostEpoch?: number;
      readonly at: Instant;
    }
  | {
      readonly type: 'DiskClosed';
      readonly virtualMachine: string;
      /** Whether the machine is deallocated. */
      readonly isDeallocated: boolean;
      readonly at: Instant;
    }
  | { readonly type: 'DiskDetached'; readonly virtualMachine: string; readonly at: Instant }
  /** An attach request was given up. If it still arrives, it has no effect. */
  | {
      readonly type: 'AttachGivenUp';
      readonly virtualMachine: string;
      readonly requestId: string;
      readonly at: Instant;
    }
  | {
      readonly type: 'AccessBegun';
      /** Who began it: the access ends when this principal may not begin one. */
      readonly principal: Principal;
      readonly attachEpoch: number;
      readonly level: AccessLevel;
      readonly tokenHash: string;
      readonly expiresAt: Instant;
      readonly accessEpoch: number;
      /** Epoch of the host that opened it; absent in old events. */
      readonly hostEpoch?: number;
      readonly at: Instant;
    }
  | { readonly type: 'AccessEnded'; readonly at: Instant }
  | {
      /** The barrier of a change: both sets are in use, and `volumeId` is to be removed unless `DiskEncryptionChanged` follows. */
      readonly type: 'EncryptionChanging';
      readonly encryption: Encryption;
      readonly volumeId: string;
      readonly at: Instant;
    }
  | { readonly type: 'EncryptionChangeFailed'; readonly reason: string; readonly at: Instant }
  | ({
      readonly type: 'DiskEncryptionChanged';
      readonly encryption: Encryption;
      /** `''` for a key of the platform. */
      readonly previousSet: string;
      readonly volume: VolumeRef;
      readonly accessEpoch: number;
      readonly at: Instant;
    } & WrapRef)
  | MoveEvent
  | ({
      readonly type: 'DekRewrapped';
      readonly set: string;
      readonly previousKeyVersion: string;
      readonly headerSequence: number;
      readonly headerDigest: string;
      readonly accessEpoch: number;
      readonly at: Instant;
    } & WrapRef)
  | {
      readonly type: 'DiskGrown';
      readonly sizeGib: number;
      readonly headerSequence: number;
      readonly headerDigest: string;
      readonly at: Instant;
    }
  | { readonly type: 'DiskSkuChanged'; readonly sku: Sku; readonly at: Instant }
  | { readonly type: 'DiskDeleting'; readonly at: Instant }
  | {
      readonly type: 'DiskDeleted';
      /** `''` for a key of the platform. */
      readonly set: string;
      readonly at: Instant;
    };
