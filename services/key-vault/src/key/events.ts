import type { Instant } from '@interlock/runtime';
import type { RotationPolicy } from './rotation-policy.ts';

/** An operation that a version allows (KV-09). */
export type KeyOperation = 'encrypt' | 'decrypt' | 'sign' | 'verify' | 'wrapKey' | 'unwrapKey';

/** The part of a version that never changes (KV-06). */
export interface VersionMaterial {
  /** 32 lower-case hex digits (KV-01). */
  readonly version: string;
  /**
   * Name under which the private key is sealed and stored. Each restore of the version uses another name, so a private key
   * that a purge destroyed stays destroyed.
   */
  readonly materialId: string;
  /** Size of the modulus: 2048, 3072 or 4096. */
  readonly bits: number;
  /** Public half as in a JWK: modulus and exponent, base64url. */
  readonly n: string;
  readonly e: string;
  readonly origin: 'generated' | 'imported';
}

/** The part of a version that its creator may set. */
export interface VersionAttributes {
  readonly enabled: boolean;
  readonly notBefore?: Instant;
  readonly expiresAt?: Instant;
  readonly operations: readonly KeyOperation[];
  readonly tags: Readonly<Record<string, string>>;
}

/** A version as a backup holds it. */
export interface RestoredVersion extends VersionMaterial, VersionAttributes {
  readonly createdAt: Instant;
  readonly updatedAt: Instant;
}

/** The events of one key. Their names and fields are on disk. They contain no key material. */
export type KeyEvent =
  | ({
      readonly type: 'KeyVersionCreated';
      /** The request that made it, so that a repeat is recognised. */
      readonly requestId: string;
      /** Digest of that request: a request with the same id and another digest is no repeat. */
      readonly digest: string;
      readonly at: Instant;
    } & VersionMaterial &
      VersionAttributes)
  | { readonly type: 'KeyVersionEnabled'; readonly version: string; readonly at: Instant }
  | {
      readonly type: 'KeyVersionDisabled';
      readonly version: string;
      /** Disabled with the whole key, and enabled with it. */
      readonly withKey?: true;
      readonly at: Instant;
    }
  | {
      /** A version disabled with its key was also disabled by its own name: it stays disabled when the key is enabled. */
      readonly type: 'KeyVersionKeptDisabled';
      readonly version: string;
      readonly at: Instant;
    }
  | {
      readonly type: 'KeyVersionDatesSet';
      readonly version: string;
      readonly notBefore?: Instant;
      readonly expiresAt?: Instant;
      readonly at: Instant;
    }
  | {
      readonly type: 'KeyOperationsSet';
      readonly version: string;
      readonly operations: readonly KeyOperation[];
      readonly at: Instant;
    }
  | {
      readonly type: 'KeyTagsSet';
      readonly version: string;
      readonly tags: Readonly<Record<string, string>>;
      readonly at: Instant;
    }
  | {
      /** An enabled version reached its end date. */
      readonly type: 'KeyVersionExpired';
      readonly version: string;
      readonly expiresAt: Instant;
      readonly at: Instant;
    }
  | {
      /** An enabled version reached its start date. */
      readonly type: 'KeyVersionBegan';
      readonly version: string;
      readonly notBefore: Instant;
      readonly expiresAt?: Instant;
      readonly at: Instant;
    }
  | {
      /** The current version ends soon (KV-51). */
      readonly type: 'KeyVersionNearExpiry';
      readonly version: string;
      readonly expiresAt: Instant;
      readonly at: Instant;
    }
  | {
      readonly type: 'KeyRotationPolicySet';
      /** Absent: none. */
      readonly policy?: RotationPolicy;
      readonly at: Instant;
    }
  | { readonly type: 'KeyDeleted'; readonly purgeAt: Instant; readonly at: Instant }
  | { readonly type: 'KeyRecovered'; readonly at: Instant }
  | { readonly type: 'KeyPurged'; readonly at: Instant }
  | {
      readonly type: 'KeyRestored';
      readonly requestId: string;
      readonly versions: readonly RestoredVersion[];
      readonly at: Instant;
    }
  | ({ readonly type: 'RewrapAuthorized'; readonly at: Instant } & RewrapAuthorization)
  | {
      /** Authorizations were cancelled although the state of the key did not change. */
      readonly type: 'RewrapAuthorizationsCancelled';
      /** Absent: for all versions. */
      readonly version?: string;
      readonly at: Instant;
    };

/** The key owner's authorization for a set to leave a version. Names are full resource names. */
export interface RewrapAuthorization {
  /** Version id of this key. */
  readonly source: string;
  /** `vaults/<v>/keys/<k>/versions/<version>` */
  readonly target: string;
  /** `principals/<id>`: the set's identity. */
  readonly principal: string;
  readonly diskEncryptionSet: string;
  /** `principals/<id>` of the key owner. */
  readonly authorizedBy: string;
  /** How often the vault had been deleted at that time; a later deletion cancels the authorization. Absent: never. */
  readonly vaultDeletionCount?: number;
}
