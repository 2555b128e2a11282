import type { Instant } from '@interlock/runtime';

/** What a principal is: a person, a program with secrets, or an identity owned by a resource and without secrets. */
export type PrincipalType = 'user' | 'application' | 'managed_identity';

/** The facts of one principal. These names and shapes are on disk: add; never rename, never reuse. */
export type PrincipalEvent =
  | {
      readonly type: 'PrincipalCreated';
      /** `tenants/<id>` */
      readonly tenant: string;
      readonly principalType: PrincipalType;
      readonly displayName: string;
      /** Resource that owns a managed identity (CMK-04); absent for the others. */
      readonly owner?: string;
      /** Service of this principal; absent for principals of customers. */
      readonly workload?: string;
      readonly at: Instant;
    }
  | {
      readonly type: 'SecretAdded';
      readonly secretId: string;
      /** SHA-256, base64url: of the secret text, which is shown once and not stored; or of the certificate. */
      readonly hash: string;
      /** X.509, PEM: the principal signs assertions with its private key. Absent for a secret with a text. */
      readonly certificate?: string;
      readonly expiresAt?: Instant;
      readonly at: Instant;
    }
  | { readonly type: 'SecretRemoved'; readonly secretId: string; readonly at: Instant }
  | {
      readonly type: 'PrincipalDeleted';
      /** Repeated, so that the fact is complete. */
      readonly tenant: string;
      readonly principalType: PrincipalType;
      readonly owner?: string;
      readonly at: Instant;
    };
