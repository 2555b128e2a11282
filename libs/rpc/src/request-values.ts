import { type FieldStep, requestTimestamps } from '@interlock/contracts/timestamps.ts';
import { Rejection } from '@interlock/event-store';

/** Bytes of a request that could not be decoded. They replace the message until the pipeline refuses the call. */
export class UnreadableRequest {
  readonly bytes: Uint8Array;
  readonly error: unknown;
  constructor(bytes: Uint8Array, error: unknown) {
    this.bytes = bytes;
    this.error = error;
  }
}

/**
 * Wraps a decoder so that it never throws: gRPC would answer INTERNAL, without the field.
 * @returns decodes to the message, or to an `UnreadableRequest`
 */
export const readable =
  <Message>(decode: (bytes: Uint8Array) => Message) =>
  (bytes: Uint8Array): Message => {
    try {
      return decode(bytes);
    } catch (error) {
      // The handler never sees it: the pipeline refuses the call first (`checkRequest`).
      return new UnreadableRequest(bytes, error) as Message;
    }
  };

/**
 * Checks the rules of all requests, independent of the method. It costs nothing for messages without a timestamp.
 * @param path `/package.Service/Method`
 * @returns a promise only for bytes that cannot be decoded. It rejects with REQUEST_MALFORMED for bytes that are no such message, and
 *   with NUMBER_OUT_OF_RANGE for a whole number beyond ±(2^53 - 1)
 * @throws Rejection INVALID_ARGUMENT TIMESTAMP_OUT_OF_RANGE for one outside of the years 1 to 9999
 */
export const checkRequest = (path: string, request: unknown): Promise<never> | undefined => {
  if (request instanceof UnreadableRequest) return refuse(path, request);
  for (const steps of requestTimestamps[path] ?? []) checkTimestamps(request, steps, '');
  return undefined;
};

const refuse = async (path: string, { bytes, error }: UnreadableRequest): Promise<never> => {
  const { unreadable } = await import('./unreadable-request.ts');
  throw unreadable(path, bytes, error);
};

/** The messages of a request stream, each checked when it is read. @throws Rejection as `checkRequest`, from `next` */
export const checkedRequests = <Message>(path: string, messages: AsyncIterable<Message>): AsyncIterable<Message> => ({
  [Symbol.asyncIterator]() {
    const iterator = messages[Symbol.asyncIterator]();
    return {
      // Not a generator, which would cost too much for each message of the data path.
      next: async () => {
        const result = await iterator.next();
        const refused = result.done === true ? undefined : checkRequest(path, result.value);
        if (refused) await refused;
        return result;
      },
      return: async () => {
        await iterator.return?.();
        return { done: true, value: undefined };
      },
    };
  },
});

/** Checks the timestamps to which these fields lead. @param prefix path of the message, with a dot at its end if it is not empty */
const checkTimestamps = (message: unknown, [step, ...steps]: readonly FieldStep[], prefix: string): void => {
  if (step === undefined) return;
  const { name, member, oneof } = step;
  const value = oneof === undefined ? memberOf(message, member) : chosenOf(message, oneof, member);
  if (value === undefined) return;
  const check = (one: unknown, path: string): void =>
    steps.length === 0 ? checkTimestamp(one, path) : checkTimestamps(one, steps, `${path}.`);
  const path = prefix + name;
  if (Array.isArray(value)) for (const [n, item] of value.entries()) check(item, `${path}[${n}]`);
  else check(value, path);
};

const memberOf = (message: unknown, name: string): unknown => Reflect.get(message as object, name);

/** A oneof is `{ $case, value }` in generated code. */
const chosenOf = (message: unknown, oneof: string, name: string): unknown => {
  const chosen = memberOf(message, oneof);
  if (chosen === undefined || memberOf(chosen, '$case') !== name) return undefined;
  return memberOf(chosen, 'value');
};

/** 0001-01-01T00:00:00Z and the end of 9999: what google.protobuf.Timestamp allows. Milliseconds since the epoch. */
const EARLIEST_MS = -62_135_596_800_000;
const LATEST_MS = 253_402_300_799_999;

const checkTimestamp = (value: unknown, field: string): void => {
  // NaN for a time that a Date cannot hold: it fails every comparison.
  const ms = value instanceof Date ? value.getTime() : Number.NaN;
  if (ms >= EARLIEST_MS && ms <= LATEST_MS) return;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'TIMESTAMP_OUT_OF_RANGE',
    `${field} must be from 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999Z`,
    { field },
  );
};
