import type { Instant } from '@interlock/runtime';

/** What a version may be used for (KV-09). */
export type KeyOperation = 'encrypt' | 'decrypt' | 'sign' | 'verify' | 'wrapKey' | 'unwrapKey';

/** What never changes about a version (KV-06). */
export interface VersionMaterial {
  /** 32 lower-case hex digits (KV-01). */
  readonly version: string;
  /**
   * Under which name the sealed private key is kept, and sealed. A name of its own for each time the version came into
   * being: what a purge destroyed stays destroyed also when the version is restored from a backup later.
   */
  readonly materialId: string;
  /** Size of the modulus: 2048, 3072 or 4096. */
  readonly bits: number;
  /** Public half as in a JWK: modulus and exponent, base64url. */
  readonly n: string;
  readonly e: string;
  readonly origin: 'generated' | 'imported';
}

/** What may be said about a version when it is made. */
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

/** The facts of one key. These names and shapes are on disk: add; never rename, never reuse. No key material. */
export type KeyEvent =
  | ({
      readonly type: 'KeyVersionCreated';
      /** The wish that made it, so that a repeat is recognised. */
      readonly requestId: string;
      /** Digest of what was asked for: the same id with another one is no repeat. Absent before it was kept. */
      readonly wish?: string;
      readonly at: Instant;
    } & VersionMaterial &
      VersionAttributes)
  | { readonly type: 'KeyVersionEnabled'; readonly version: string; readonly at: Instant }
  | {
      readonly type: 'KeyVersionDisabled';
      readonly version: string;
      /** Together with the whole key, and to be enabled with it. */
      readonly withKey?: true;
      readonly at: Instant;
    }
  | {
      /** A version disabled with its key was disabled by its own name too: it stays so when the key is enabled. */
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
      /** The clock passed the end of an enabled version. */
      readonly type: 'KeyVersionExpired';
      readonly version: string;
      readonly expiresAt: Instant;
      readonly at: Instant;
    }
  | {
      /** The clock reached the beginning of an enabled version. */
      readonly type: 'KeyVersionBegan';
      readonly version: string;
      readonly notBefore: Instant;
      readonly expiresAt?: Instant;
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
  | ({ readonly type: 'RewrapAuthorized'; readonly at: Instant } & RewrapWord)
  | {
      /** Words already given were taken back although the state of the key did not change. */
      readonly type: 'RewrapAuthorizationsCancelled';
      /** Of this version; absent: of all. */
      readonly version?: string;
      readonly at: Instant;
    };

/** The key owner's word that a set may move from a version to another. Names are full resource names. */
export interface RewrapWord {
  /** Version id of this key. */
  readonly source: string;
  /** `vaults/<v>/keys/<k>/versions/<version>` */
  readonly target: string;
  /** `principals/<id>`: the set's identity. */
  readonly principal: string;
  readonly diskEncryptionSet: string;
  /** `principals/<id>`: who gave it. */
  readonly authorizedBy: string;
  /** How often the vault had been deleted when it was given; a later deletion takes it back. Absent: never. */
  readonly vaultDeletionCount?: number;
}
