import { timingSafeEqual } from 'node:crypto';
import { Rejection } from '@interlock/event-store';
import { type DekOwner, dekLength, secretBytes } from './dek.ts';

/** DEK ‖ DEK id (16) ‖ disk id (16): fits RSA-OAEP-256 under the smallest key (190 bytes). */
export const dekPayloadLength = dekLength + 16 + 16;

/**
 * The payload of a wrap: a DEK with its owner, so that the wrap of one disk is useless in the header of another.
 * @returns `dekPayloadLength` bytes in a buffer of their own. The caller clears both. Rule CMK-13.
 * @throws Rejection INVALID_ARGUMENT UUID_MALFORMED.
 */
export function encodeDekPayload(dek: Uint8Array, owner: DekOwner): Uint8Array {
  if (dek.length !== dekLength) throw new Error(`a DEK has ${dekLength} bytes, not ${dek.length}`);
  const payload = secretBytes(dekPayloadLength);
  payload.set(uuidBytes('dek_id', owner.dekId), dekLength);
  payload.set(uuidBytes('disk_id', owner.diskId), dekLength + 16);
  payload.set(dek);
  return payload;
}

/**
 * Takes the DEK out of an unwrapped payload and overwrites the payload, whatever happens.
 * @returns the DEK in a buffer of its own; the caller clears it.
 * @throws Rejection DATA_LOSS WRONG_DEK when the payload is for another disk or another DEK, or is no payload.
 */
export function openDekPayload(payload: Uint8Array, owner: DekOwner): Uint8Array {
  try {
    const wrong = (field: string, message: string) =>
      new Rejection('DATA_LOSS', 'WRONG_DEK', message, { field, dek: owner.dekId, disk: owner.diskId });
    if (payload.length !== dekPayloadLength) {
      throw wrong('length', `the wrap opened to ${payload.length} bytes; a DEK payload has ${dekPayloadLength}`);
    }
    if (!timingSafeEqual(payload.subarray(dekLength + 16), uuidBytes('disk_id', owner.diskId))) {
      throw wrong('disk_id', `the wrap in the header of disk ${owner.diskId} was made for another disk`);
    }
    if (!timingSafeEqual(payload.subarray(dekLength, dekLength + 16), uuidBytes('dek_id', owner.dekId))) {
      throw wrong('dek_id', `the wrap in the header of disk ${owner.diskId} holds another DEK than ${owner.dekId}`);
    }
    const dek = secretBytes(dekLength);
    dek.set(payload.subarray(0, dekLength));
    return dek;
  } finally {
    payload.fill(0);
  }
}

function uuidBytes(field: string, uuid: string): Uint8Array {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(uuid)) {
    return Buffer.from(uuid.replaceAll('-', ''), 'hex');
  }
  throw new Rejection('INVALID_ARGUMENT', 'UUID_MALFORMED', `${field} is "${uuid}"; it must be a UUID`, {
    field,
    value: uuid,
  });
}
