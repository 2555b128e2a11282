import type { LossReason } from '@interlock/access';
import type { Instant } from '@interlock/runtime';

/** Keys of a set's disks: the customer's alone, or a platform key below it too (CMK-31). */
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

/** Effect of the key's expiry: stops machines, or fails only what needs the key again (CMK-104). */
export type KeyExpiry = 'stop' | 'next_start';

/** Options of a set. */
export interface SetOptions {
  readonly keyExpiry: KeyExpiry;
  /** Whether machines that an access loss stopped start when access is restored (CMK-125). */
  readonly autoRestart: boolean;
  /** Whether the set assigns the newest version of its key by itself (CMK-36). */
  readonly autoKeyRotation: boolean;
  /** Whether new disks are placed on two disk hosts, machine by machine; absent in old events: on one. */
  readonly spread?: boolean;
}

/** What never changes in a set, except its identity. */
export interface NewSet {
  /** `tenants/<t>` of its subscription, of its identity and of its vaults. */
  readonly tenant: string;
  readonly location: string;
  readonly encryptionType: EncryptionType;
  /** `principals/<uuid>`: its identity, chosen first so that a repeat creates no second one. */
  readonly principal: string;
  /** Key URL and source vault of the request, to recognize a repeated creation. */
  readonly requestedKey: { readonly keyUrl: string; readonly sourceVault: string };
  /** Options of the request, for the same purpose. */
  readonly requestedOptions: SetOptions;
  /** Identity of the request; absent: one of its own. */
  readonly requestedIdentity?: string;
  /** Whether a user created the identity: it stays when the set goes (CMK-40). */
  readonly userAssigned?: boolean;
}

/** The events of one set. Names and shapes are stored: add, never rename or reuse. */
export type SetEvent =
  | ({
      readonly type: 'SetCreating';
      readonly key: KeyReference;
      readonly at: Instant;
    } & NewSet)
  | { readonly type: 'SetCreationAbandoned'; readonly reason: string; readonly at: Instant }
  | {
      readonly type: 'SetCreated';
      /** Repeated from SetCreating, so that the fact is complete. */
      readonly location: string;
      readonly encryptionType: EncryptionType;
      readonly principal: string;
      readonly keyVersion: string;
      readonly generation: number;
      readonly at: Instant;
    }
  | ({ readonly type: 'SetOptionsChanged'; readonly at: Instant } & SetOptions)
  /** The set has no identity: nothing under it can use a key. The principal is deleted afterwards (CMK-38). */
  | { readonly type: 'IdentityRemoved'; readonly principal: string; readonly at: Instant }
  /** The principal of a removed identity is deleted. */
  | { readonly type: 'IdentityRetired'; readonly principal: string; readonly at: Instant }
  /** The set has another identity, which is created afterwards. The generation carries it to the disk service. */
  | {
      readonly type: 'IdentityReplaced';
      readonly principal: string;
      /** As in `NewSet`. */
      readonly userAssigned?: boolean;
      readonly generation: number;
      readonly at: Instant;
    }
  /** The principal of the new identity exists. */
  | { readonly type: 'IdentityMade'; readonly principal: string; readonly at: Instant }
  | { readonly type: 'SetDeleting'; readonly at: Instant }
  | { readonly type: 'SetDeleteRefused'; readonly at: Instant }
  /** Nothing uses the set: its deletion cannot be undone. */
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
      /** When access ended, by the clock of the service that removed it. */
      readonly since: Instant;
      /** Trace of the cause, 32 hexadecimal digits; empty when it was not traced. */
      readonly traceId: string;
      /** During a rotation only some disks are under this version. */
      readonly partial: boolean;
      /** The deleted identity; absent for a loss of the key. */
      readonly principal?: string;
      readonly at: Instant;
    }
  /** Access ended for starts, while machines keep running: an expiry under `next_start`. Not published. */
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
  /** Something may have changed access to a version: the vault must be called. */
  | {
      readonly type: 'KeyAccessQuestioned';
      readonly keyVersion: string;
      /** Position in key-vault's feed that the response must have reached; 0 for any response. */
      readonly epoch: number;
      readonly since: Instant;
      readonly traceId: string;
    }
  | {
      readonly type: 'KeyAccessAnswered';
      readonly keyVersion: string;
      readonly granted: boolean;
      /** Position in key-vault's feed at its response. */
      readonly epoch: number;
    }
  /** The key's versions changed: the newest must be checked. */
  | { readonly type: 'NewerVersionNoticed' /** Position in key-vault's feed. */; readonly position: number }
  /** The active version is the newest usable one. */
  | { readonly type: 'NewestFollowed'; readonly position: number; readonly at: Instant }
  /** The newest version could not be assigned (CMK-37). */
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
      /** `UNKNOWN` if the cause is not a key: a damaged header. */
      readonly reason: LossReason | 'UNKNOWN';
      /** The version to enable, recover or authorize. */
      readonly keyVersion: string;
      /** Code of the refusal if the reason is `UNKNOWN`. */
      readonly code?: string;
      /** Names of disk hosts that do not respond or are lost, and have something to move; absent without one. */
      readonly diskHosts?: readonly string[];
      readonly at: Instant;
    }
  | { readonly type: 'RotationResumed'; readonly generation: number; readonly at: Instant }
  | {
      readonly type: 'RotationFinished';
      readonly keyVersion: string;
      readonly generation: number;
      readonly at: Instant;
    };
