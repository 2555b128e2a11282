import type { Upcasters } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { LossReason } from './reasons.ts';

/** Whose keys the disks of a set are under: the customer's alone, or a platform key below it as well (CMK-31). */
export type EncryptionType = 'customer_key' | 'platform_and_customer_keys';

/** A key version a set names. */
export interface KeyReference {
  /** `vaults/<v>/keys/<k>/versions/<version>` */
  readonly keyVersion: string;
  /** Its versioned URL, as its vault writes it. */
  readonly keyUrl: string;
  /** `vaults/<v>`; empty when the vault lies in another subscription (CMK-24). */
  readonly sourceVault: string;
}

/** What the expiry of the key does: stops machines, or fails only what needs the key anew (CMK-104). */
export type KeyExpiry = 'stop' | 'next_start';

/** What the owner of a set chose about it, beside its key. */
export interface SetOptions {
  readonly keyExpiry: KeyExpiry;
  /** Whether machines that a loss stopped start again once the key is back (CMK-125). */
  readonly autoRestart: boolean;
  /** Whether the set follows the newest version of its key (CMK-36). */
  readonly autoKeyRotation: boolean;
}

/** What a set is from its first moment, and stays. */
export interface Founding {
  /** `tenants/<t>` of its subscription, of its identity and of its vaults. */
  readonly tenant: string;
  readonly location: string;
  readonly encryptionType: EncryptionType;
  /** `principals/<uuid>`: its identity, chosen before anything else is done so that a repeat makes no second one. */
  readonly principal: string;
  /** The key URL and source vault as asked, by which a repeated creation is recognised. */
  readonly askedKey: { readonly keyUrl: string; readonly sourceVault: string };
  /** The options as asked, for the same purpose. */
  readonly askedOptions: SetOptions;
}

/** The facts of one set. These names and shapes are on disk: add; never rename, never reuse. */
export type SetEvent =
  | ({
      readonly type: 'SetCreating';
      readonly key: KeyReference;
      readonly at: Instant;
    } & Founding)
  | { readonly type: 'SetCreationAbandoned'; readonly reason: string; readonly at: Instant }
  | {
      readonly type: 'SetCreated';
      /** Repeated from the beginning, so that the fact can be told by itself. */
      readonly location: string;
      readonly encryptionType: EncryptionType;
      readonly principal: string;
      readonly keyVersion: string;
      readonly generation: number;
      readonly at: Instant;
    }
  | ({ readonly type: 'SetOptionsChanged'; readonly at: Instant } & SetOptions)
  /** The set has no identity any more: nothing under it can use a key. The principal is deleted afterwards (CMK-38). */
  | { readonly type: 'IdentityRemoved'; readonly principal: string; readonly at: Instant }
  /** The principal of a removed identity is gone at identity. */
  | { readonly type: 'IdentityRetired'; readonly principal: string; readonly at: Instant }
  /** The set has another identity, chosen before it is made. The generation carries it to the disk service. */
  | {
      readonly type: 'IdentityReplaced';
      readonly principal: string;
      readonly generation: number;
      readonly at: Instant;
    }
  /** The principal of the new identity exists. */
  | { readonly type: 'IdentityMade'; readonly principal: string; readonly at: Instant }
  | { readonly type: 'SetDeleting'; readonly at: Instant }
  | { readonly type: 'SetDeleteRefused'; readonly at: Instant }
  /** Nothing uses the set: from here its deletion only goes forward. */
  | { readonly type: 'SetReleased'; readonly at: Instant }
  | { readonly type: 'SetDeleted'; readonly at: Instant }
  | {
      readonly type: 'KeyAssigned';
      readonly key: KeyReference;
      readonly previousKeyVersion: string;
      readonly generation: number;
      readonly at: Instant;
    }
  | {
      readonly type: 'KeyAccessLost';
      readonly keyVersion: string;
      readonly reason: LossReason;
      /** Access epoch of the loss: a position in key-vault's feed. */
      readonly epoch: number;
      /** When access ended, by the clock of who took it away. */
      readonly since: Instant;
      /** Trace of the cause, 32 hexadecimal digits; empty when it was not traced. */
      readonly traceId: string;
      /** A move to another key is unfinished: only some disks are under this version. */
      readonly partial: boolean;
      /** The identity that ended; absent for a loss of the key, and in old events. */
      readonly principal?: string;
      readonly at: Instant;
    }
  /** Access ended for what begins anew, while what runs goes on: an expiry under `next_start`. Nobody has to be told. */
  | {
      readonly type: 'KeyAccessBarred';
      readonly keyVersion: string;
      readonly reason: LossReason;
      readonly epoch: number;
      readonly since: Instant;
      readonly traceId: string;
      readonly at: Instant;
    }
  | { readonly type: 'KeyAccessRestored'; readonly keyVersion: string; readonly epoch: number; readonly at: Instant }
  /** Something happened that may have changed the access to a version: the vault is to be asked. */
  | {
      readonly type: 'KeyAccessQuestioned';
      readonly keyVersion: string;
      /** Position in key-vault's feed an answer must have reached; 0 when any answer will do. */
      readonly epoch: number;
      readonly since: Instant;
      readonly traceId: string;
    }
  | {
      readonly type: 'KeyAccessAnswered';
      readonly keyVersion: string;
      readonly granted: boolean;
      /** Position in key-vault's feed when it answered. */
      readonly epoch: number;
    }
  /** The newest version of the key is to be looked at: something about the key's versions changed. */
  | { readonly type: 'NewerVersionNoticed' /** Position in key-vault's feed. */; readonly position: number }
  /** The newest usable version is the active one, or became it. */
  | { readonly type: 'NewestFollowed'; readonly position: number; readonly at: Instant }
  /** The newest version could not be taken (CMK-37). */
  | {
      readonly type: 'NewestNotFollowed';
      readonly position: number;
      readonly keyVersion: string;
      readonly code: string;
      readonly message: string;
      readonly at: Instant;
    }
  | {
      readonly type: 'RotationProgressed';
      readonly generation: number;
      readonly resourcesCount: number;
      readonly doneCount: number;
      readonly at: Instant;
    }
  | {
      readonly type: 'RotationWaiting';
      readonly generation: number;
      /** What stands in the way; `UNKNOWN` for what is no matter of a key (a damaged header). */
      readonly reason: LossReason | 'UNKNOWN';
      /** The version to enable, recover or authorise. */
      readonly keyVersion: string;
      /** Code of the refusal where the reason is `UNKNOWN`; absent in old events. */
      readonly code?: string;
      readonly at: Instant;
    }
  | { readonly type: 'RotationResumed'; readonly generation: number; readonly at: Instant }
  | {
      readonly type: 'RotationFinished';
      readonly keyVersion: string;
      readonly generation: number;
      readonly at: Instant;
    };

const plainOptions: SetOptions = { keyExpiry: 'stop', autoRestart: false, autoKeyRotation: false };

/** Lifts the stored shapes of older schemas. */
export const upcast: Upcasters = {
  SetCreating: { 1: (old) => ({ ...old, askedOptions: { ...plainOptions } }) },
};
