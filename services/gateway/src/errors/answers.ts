import { publicCodes } from '@interlock/access';
import type { RejectionCode } from '@interlock/event-store';

/** The two dialects of errors: resource management (ARM) and the data plane of a vault. */
export type Plane = 'management' | 'vault';

/** How a refusal of a service looks to a client of the public cloud. */
export interface Answer {
  /** HTTP status. */
  readonly status: number;
  readonly code: string;
  /** Inner code of the vault's data plane. */
  readonly innerCode?: string;
  /** Words that clients look for in the message; they come before those of the service. */
  readonly words?: string;
}

const forbidden = (innerCode: string): Answer => ({ status: 403, code: 'Forbidden', innerCode });
const keyNotFound: Answer = { status: 404, code: 'KeyNotFound' };
const badParameter: Answer = { status: 400, code: 'BadParameter' };

/** Too many requests have an answer of their own, also about a key. */
const { THROTTLED: _throttled, ...ofKeys } = publicCodes;

/** Codes of resources whose key cannot be used, by reason. A set is also refused because its key never existed. */
export const keyCodes: Readonly<Record<string, string>> = {
  ...ofKeys,
  KEY_NOT_FOUND: publicCodes.KEY_VERSION_NOT_FOUND,
};

const keyAnswers = (reasons: readonly string[]): Readonly<Record<string, Answer>> =>
  Object.fromEntries(reasons.map((reason) => [reason, keyAnswer(reason)]));

/** The answer to a refusal because of a key. */
export const keyAnswer = (reason: string): Answer => ({
  status: 409,
  code: keyCodes[reason] ?? 'OperationNotAllowed',
});

/** By the reason of the refusal. Codes of the vault: KV-80 to KV-96; of management: REST-15 to REST-19, and section 8 there. */
export const answersByReason: Readonly<Record<Plane, Readonly<Record<string, Answer>>>> = {
  vault: {
    KEY_DISABLED: forbidden('KeyDisabled'),
    KEY_NOT_YET_VALID: forbidden('KeyNotYetValid'),
    KEY_EXPIRED: forbidden('KeyExpired'),
    KEY_OPERATION_NOT_ALLOWED: forbidden('KeyOperationForbidden'),
    ACCESS_DENIED: forbidden('AccessDenied'),
    IDENTITY_DELETED: forbidden('AccessDenied'),
    PURGE_PROTECTED: forbidden('PurgeProtectionEnabled'),
    KEY_NOT_FOUND: keyNotFound,
    KEY_VERSION_NOT_FOUND: keyNotFound,
    KEY_DELETED: keyNotFound,
    KEY_PURGED: keyNotFound,
    KEY_NAME_HELD: { status: 409, code: 'Conflict', innerCode: 'ObjectIsDeletedButRecoverable' },
    KEY_ALREADY_EXISTS: { status: 409, code: 'Conflict' },
    VAULT_NOT_FOUND: { status: 404, code: 'VaultNotFound' },
    VAULT_DELETED: { status: 404, code: 'VaultNotFound' },
    KEY_VAULT_ON_HOLD: { status: 503, code: 'ServiceUnavailable' },
    THROTTLED: { status: 429, code: 'Throttled' },
  },
  management: {
    ACCESS_DENIED: { status: 403, code: 'AuthorizationFailed' },
    SUBSCRIPTION_NOT_FOUND: { status: 404, code: 'SubscriptionNotFound' },
    VAULT_NOT_FOUND: { status: 404, code: 'ResourceNotFound' },
    VAULT_DELETED: { status: 404, code: 'ResourceNotFound' },
    VAULT_ALREADY_EXISTS: { status: 409, code: 'VaultAlreadyExists' },
    VAULT_NAME_HELD: { status: 409, code: 'ConflictError' },
    VAULT_NOT_DELETED: { status: 404, code: 'DeletedVaultNotFound' },
    PURGE_PROTECTED: { status: 409, code: 'DeletedVaultPurge' },
    ROLE_ASSIGNMENT_ALREADY_EXISTS: {
      status: 409,
      code: 'RoleAssignmentExists',
      words: 'The role assignment already exists.',
    },
    ROLE_ASSIGNMENT_UPDATE_NOT_PERMITTED: { status: 409, code: 'RoleAssignmentUpdateNotPermitted' },
    ROLE_ASSIGNMENT_NOT_FOUND: { status: 404, code: 'RoleAssignmentNotFound' },
    ROLE_NOT_FOUND: { status: 400, code: 'RoleDefinitionDoesNotExist' },
    PRINCIPAL_NOT_FOUND: {
      status: 400,
      code: 'PrincipalNotFound',
      words: 'The principal does not exist in the directory.',
    },
    ...keyAnswers(['KEY_DISABLED', 'KEY_NOT_YET_VALID', 'KEY_EXPIRED', 'KEY_DELETED', 'KEY_PURGED']),
    ...keyAnswers(['KEY_NOT_FOUND', 'KEY_VERSION_NOT_FOUND', 'IDENTITY_DELETED']),
    ENCRYPTION_SET_MISSING: {
      status: 400,
      code: 'InvalidParameter',
      words: 'Resource encrypted with customer managed key has disk encryption set missing resource id.',
    },
    ENCRYPTION_SET_NOT_ALLOWED: {
      status: 400,
      code: 'InvalidParameter',
      words: 'Resource encrypted with platform key has disk encryption set id specified.',
    },
    DISK_HAS_INCREMENTAL_SNAPSHOTS: {
      status: 409,
      code: 'OperationNotAllowed',
      words: 'Cannot update encryption properties for disk because it already has incremental snapshots.',
    },
    THROTTLED: { status: 429, code: 'TooManyRequests' },
  },
};

/** By the code of the refusal, where its reason has no answer of its own. */
export const answersByCode: Readonly<Record<Plane, Readonly<Record<RejectionCode, Answer>>>> = {
  vault: {
    INVALID_ARGUMENT: badParameter,
    OUT_OF_RANGE: badParameter,
    NOT_FOUND: keyNotFound,
    ALREADY_EXISTS: { status: 409, code: 'Conflict' },
    PERMISSION_DENIED: forbidden('AccessDenied'),
    UNAUTHENTICATED: { status: 401, code: 'Unauthorized' },
    FAILED_PRECONDITION: { status: 409, code: 'Conflict' },
    ABORTED: { status: 409, code: 'Conflict' },
    RESOURCE_EXHAUSTED: { status: 429, code: 'Throttled' },
    UNAVAILABLE: { status: 503, code: 'ServiceUnavailable' },
    DATA_LOSS: { status: 500, code: 'InternalServerError' },
    UNIMPLEMENTED: { status: 400, code: 'NotSupported' },
  },
  management: {
    INVALID_ARGUMENT: { status: 400, code: 'InvalidParameter' },
    OUT_OF_RANGE: { status: 400, code: 'InvalidParameter' },
    NOT_FOUND: { status: 404, code: 'ResourceNotFound' },
    ALREADY_EXISTS: { status: 409, code: 'Conflict' },
    PERMISSION_DENIED: { status: 403, code: 'AuthorizationFailed' },
    UNAUTHENTICATED: { status: 401, code: 'InvalidAuthenticationToken' },
    FAILED_PRECONDITION: { status: 409, code: 'OperationNotAllowed' },
    ABORTED: { status: 409, code: 'Conflict' },
    RESOURCE_EXHAUSTED: { status: 429, code: 'TooManyRequests' },
    UNAVAILABLE: { status: 503, code: 'ServiceUnavailable' },
    DATA_LOSS: { status: 500, code: 'InternalServerError' },
    UNIMPLEMENTED: { status: 400, code: 'NotSupported' },
  },
};
