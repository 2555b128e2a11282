import { Rejection } from '@interlock/event-store';
import { Status } from 'nice-grpc-common';
import { asRejection, REJECTION_CODES, RpcFailure, statusName } from './errors.ts';

/** Why one item of a batch was refused or failed, as `interlock.access.v1.ItemRefusal` has it. */
export interface ItemRefusal {
  readonly code: number;
  readonly reason: string;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** What the caller may see of what went wrong with an item: the same as `toWire` would say of a call. */
export const itemRefusal = (error: unknown): ItemRefusal => {
  const { code, reason, message, metadata } = asRejection(error) ?? internal;
  return { code: Status[code], reason, message, metadata };
};

/** What a call for this item alone would have thrown: a `Rejection`, or an `RpcFailure` where the service itself failed. */
export const itemError = (
  { code, reason, message, metadata }: ItemRefusal,
  call: { readonly method: string; readonly peer: string },
): Rejection | RpcFailure => {
  const rejectionCode = REJECTION_CODES.find((candidate) => Status[candidate] === code);
  return rejectionCode === undefined
    ? new RpcFailure(statusName(code), call.method, call.peer, message)
    : new Rejection(rejectionCode, reason, message, metadata);
};

/** Whether the service could not deal with the item now and says nothing about it. */
export const isUnavailable = ({ code }: Pick<ItemRefusal, 'code'>): boolean => code === Status.UNAVAILABLE;

const internal = { code: 'INTERNAL', reason: 'INTERNAL', message: 'internal error', metadata: {} } as const;
