import { accessReasonOf, messageOf } from '@interlock/access';
import { Rejection } from '@interlock/event-store';
import { RETRY_AFTER_MS, RpcFailure } from '@interlock/rpc';
import { type Answer, answersByCode, answersByReason, keyAnswer, keyCodes, type Plane } from './answers.ts';
import { RestError } from './rest-error.ts';

/** Turns what a handler threw into what the client gets; undefined for an error that only the log may show. */
export const restErrorOf = (error: unknown, plane: Plane): RestError | undefined => {
  if (error instanceof RestError) return error;
  if (error instanceof Rejection) return refusal(error, plane);
  if (!(error instanceof RpcFailure)) return undefined;
  if (error.code === 'DEADLINE_EXCEEDED') {
    return new RestError(
      504,
      'GatewayTimeout',
      `${error.method} did not answer in time: try again`,
      {},
      { cause: error },
    );
  }
  if (error.code !== 'UNAVAILABLE' && error.code !== 'CANCELLED') return undefined;
  const headers = { 'retry-after': '1' };
  const message = `${error.method} cannot be reached: try again`;
  return new RestError(503, 'ServiceUnavailable', message, { headers }, { cause: error });
};

const refusal = (error: Rejection, plane: Plane): RestError => {
  const { status, code, innerCode, words } = narrowed(error, plane);
  const { reason, metadata, help } = error;
  const message = keyMessage(error, plane) ?? error.message;
  const field = metadata.field;
  return new RestError(
    status,
    code,
    words === undefined ? message : `${words} ${message}`,
    {
      innerCode,
      details: [
        { code: reason, message: help ?? message, ...(field === undefined ? {} : { target: field }) },
        ...Object.entries(metadata).map(([target, value]) => ({ code: reason, target, message: value })),
      ],
      headers: status === 429 || status === 503 ? { 'retry-after': retryAfter(metadata[RETRY_AFTER_MS]) } : {},
    },
    { cause: error },
  );
};

/** Whether the identity of a set was refused its key, and not the caller a permission. */
const isOfKey = ({ reason, metadata }: Rejection, plane: Plane): boolean =>
  plane === 'management' && 'disk_encryption_set' in metadata && reason in keyCodes;

/** The text that clients of the public cloud know, for a refusal because of a key. */
const keyMessage = (error: Rejection, plane: Plane): string | undefined => {
  const { key_version: keyVersion, disk_encryption_set: set } = error.metadata;
  const reason = accessReasonOf(error.reason);
  if (!isOfKey(error, plane) || reason === undefined || !keyVersion || !set) return undefined;
  return messageOf({ reason, keyVersion, set });
};

/** Inner codes of what the network rules of a vault refuse (KV-84, KV-85). */
const networkCodes: Readonly<Record<string, string>> = {
  firewall: 'ForbiddenByFirewall',
  connection: 'ForbiddenByConnection',
};

/** A vault with roles says so in its inner code (KV-82, KV-83): its refusals name the action, those of policies the permission. */
const narrowed = (error: Rejection, plane: Plane): Answer => {
  const answer = answersByReason[plane][error.reason] ?? answersByCode[plane][error.code];
  const { network } = error.metadata;
  if (plane === 'vault' && network !== undefined)
    return { ...answer, innerCode: networkCodes[network] ?? 'AccessDenied' };
  if (answer.innerCode === 'AccessDenied' && error.metadata.action !== undefined)
    return { ...answer, innerCode: 'ForbiddenByRbac' };
  // An attach that finds the disk in use; every other refusal of an attached disk is OperationNotAllowed.
  if (plane === 'management' && error.reason === 'DISK_ATTACHED' && 'vm' in error.metadata)
    return { ...answer, code: 'ConflictingUserInput' };
  return isOfKey(error, plane)
    ? { ...keyAnswer(error.reason), ...(error.code === 'UNAVAILABLE' ? { status: 503 } : {}) }
    : answer;
};

/** Whole seconds, at least 1: clients count 0 as absent (REST-21). */
const retryAfter = (ms: string | undefined): string => String(Math.max(1, Math.ceil(Number(ms ?? 0) / 1_000) || 1));
