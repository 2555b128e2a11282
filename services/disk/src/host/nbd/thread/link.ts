import { Rejection } from '@interlock/event-store/rejection';

/** One end of a channel between threads. */
export interface Port {
  postMessage(message: unknown, transfer?: readonly ArrayBuffer[]): void;
  on(event: 'message', listener: (message: unknown) => void): unknown;
}

/** What one side offers the other: functions of plain values. */
type Calls = Readonly<Record<string, (...args: never[]) => unknown>>;

interface Call {
  readonly call: string;
  readonly args: readonly unknown[];
  readonly id: number;
}
type Message =
  | Call
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly failure: Failure };

/** An error as it crosses threads. */
interface Failure {
  readonly message: string;
  readonly rejection?: Pick<Rejection, 'code' | 'reason' | 'metadata'>;
}

/** The functions of the other side: each call is a message and its answer. */
export type Remote<Offered extends Calls> = {
  readonly [Name in keyof Offered]: (...args: Parameters<Offered[Name]>) => Promise<Awaited<ReturnType<Offered[Name]>>>;
};

/**
 * Connects two threads: each calls the functions that the other offers. A `Rejection` arrives as one, any other error with its message.
 * The memory of a `Uint8Array` that a function returns moves to the caller: it must own all of its buffer.
 */
export const link = <Other extends Calls>(port: Port, offered: Calls): Remote<Other> => {
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  let lastId = 0;

  const answer = async ({ call, args, id }: Call): Promise<void> => {
    try {
      const value = await offered[call]?.(...(args as never[]));
      port.postMessage({ id, value }, value instanceof Uint8Array ? [value.buffer as ArrayBuffer] : []);
    } catch (error) {
      port.postMessage({ id, failure: failureOf(error) });
    }
  };
  port.on('message', (received) => {
    const message = received as Message;
    if ('call' in message) {
      void answer(message);
      return;
    }
    const caller = waiting.get(message.id);
    waiting.delete(message.id);
    if ('failure' in message) caller?.reject(errorOf(message.failure));
    else caller?.resolve(message.value);
  });

  const call = (name: string, args: readonly unknown[]): Promise<unknown> =>
    new Promise((resolve, reject) => {
      lastId += 1;
      waiting.set(lastId, { resolve, reject });
      port.postMessage({ call: name, args, id: lastId });
    });
  return new Proxy({} as Remote<Other>, {
    get:
      (_, name) =>
      (...args: unknown[]) =>
        call(String(name), args),
  });
};

const failureOf = (error: unknown): Failure => {
  if (!(error instanceof Rejection)) return { message: error instanceof Error ? error.message : String(error) };
  const { code, reason, metadata, message } = error;
  return { message, rejection: { code, reason, metadata } };
};

const errorOf = ({ message, rejection }: Failure): Error =>
  rejection ? new Rejection(rejection.code, rejection.reason, message, rejection.metadata) : new Error(message);
