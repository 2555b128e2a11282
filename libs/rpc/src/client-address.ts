import { createHmac, timingSafeEqual } from 'node:crypto';
import { Rejection } from '@interlock/event-store';
import { type CallContext, Metadata } from 'nice-grpc-common';

/**
 * Metadata entry in which a gateway states the address of its client: `<address> <proof>`. The proof is HMAC-SHA-256 of the address
 * under a key that the gateway shares with the service, base64url.
 */
const ENTRY = 'x-interlock-client-address';

const proofOf = (key: string, address: string): string => createHmac('sha256', key).update(address).digest('base64url');

/** What a gateway adds to a call that it makes for a client. @param key shared with the service */
export const stateClientAddress = (key: string, address: string): Metadata =>
  Metadata({ [ENTRY]: `${address} ${proofOf(key, address)}` });

/**
 * Address of the caller: the stated one if it is proved, otherwise that of the connection.
 * @param key shared with gateways; undefined: no statement counts
 * @throws Rejection INVALID_ARGUMENT METADATA_INVALID for a statement that is not proved by the key
 */
export const clientAddressOf = (
  key: string | undefined,
  { metadata, peer }: Pick<CallContext, 'metadata' | 'peer'>,
): string => {
  const stated = key === undefined ? undefined : metadata.get(ENTRY);
  if (key === undefined || stated === undefined) return peer;
  const [address = '', proof = ''] = stated.split(' ');
  const [given, wanted] = [Buffer.from(proof), Buffer.from(proofOf(key, address))];
  if (given.length === wanted.length && timingSafeEqual(given, wanted)) return address;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'METADATA_INVALID',
    `metadata "${ENTRY}" must be an address with the proof of a gateway: CLIENT_ADDRESS_KEY must be the same in both`,
    { key: ENTRY },
  );
};
