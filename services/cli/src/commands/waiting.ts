import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { type CallOptions, RpcFailure, type Workload } from '@interlock/rpc';
import type { Limiter } from '../request/limiter.ts';
import { shortName } from '../request/names.ts';
import { type Method, methodOf } from '../request/schema.ts';
import { interruptible } from '../session/endings.ts';
import type { Session } from '../session/session.ts';
import type { Verb } from '../verbs/verb.ts';
import { settle } from './settle.ts';

/** A verb with the service that it is called on. */
export type ServedVerb = Verb & { readonly service: Workload };

/** How long `--wait` waits without `--timeout`, in milliseconds. */
const WAIT_MS = 120_000;

/** How long the last read of a resource may take, in milliseconds, also when the wait is over. */
const LOOK_MS = 1_000;

/** Whether a call got no response, so that the service may have done the work. */
export const isUndecided = (error: unknown): error is RpcFailure =>
  error instanceof RpcFailure && error.code === 'DEADLINE_EXCEEDED';

/**
 * Calls an RPC that may respond only when its work is done. The call may take as long as `--wait`. A service may end such a
 * call before: then the resource is read until it has settled, and the call is repeated.
 */
export async function callAndWait(
  verb: ServedVerb,
  method: Method,
  request: JsonObject,
  session: Session,
): Promise<JsonObject> {
  const { caller, clock, terminal, timeoutMs = WAIT_MS } = session;
  const { service, settles, worksOn } = verb;
  const startedMs = clock.monotonicMs();
  for (let leftMs = timeoutMs; ; leftMs = startedMs + timeoutMs - clock.monotonicMs()) {
    try {
      return await caller.call(service, method, request, { deadlineMs: Math.max(1, leftMs) });
    } catch (error) {
      const isOver = clock.monotonicMs() - startedMs >= timeoutMs;
      if (!isUndecided(error) || worksOn === undefined || settles === undefined || isOver) throw error;
      const name = worksOn(request);
      const get = () =>
        caller.call(service, methodOf(verb.contract, settles.get), { name }, lookOptions(session, startedMs));
      const report = (state: string): void => terminal.err(`… ${state}`);
      const waiting = { get, clock, timeoutMs, startedMs, mustRun: false, isDeletion: false, report };
      await settle({ name, provisioningState: 'UPDATING' }, waiting).catch((failed: unknown) => {
        // The work failed and was undone: the repeated call returns the reason.
        if (!(failed instanceof Rejection && failed.code === 'NOT_FOUND')) throw failed;
      });
    }
  }
}

/** How a resource is waited for. */
export interface Waiting {
  /** By the monotonic clock; the call is part of the time. */
  readonly startedMs: number;
  /** Prefix of each reported state; empty for a single resource. */
  readonly prefix?: string;
  /** Limits how many resources are read at once. */
  readonly limited?: Limiter;
}

/** Waits until the resource in a response has settled. A response that names none stays as it is. @throws NotSettled */
export async function waitUntilSettled(
  verb: ServedVerb,
  response: JsonObject,
  session: Session,
  { startedMs, prefix = '', limited = (look) => look() }: Waiting,
): Promise<JsonObject> {
  const { caller, clock, terminal, timeoutMs = WAIT_MS, settings } = session;
  const { name } = response;
  const { service, settles } = verb;
  if (settles === undefined || typeof name !== 'string') return response;
  const get = methodOf(verb.contract, settles.get);
  const wait = () =>
    settle(response, {
      get: () => limited(() => caller.call(service, get, { name }, lookOptions(session, startedMs))),
      clock,
      timeoutMs,
      startedMs,
      mustRun: settles.until === 'running',
      isDeletion: verb.verb === 'delete',
      report: (state) => terminal.err(`… ${prefix}${state}`),
    });
  // For several resources one line says how to look at all.
  return prefix === ''
    ? interruptible(`${verb.noun} show ${shortName(name, settings.namesWithoutFlags)}`, terminal, wait)
    : wait();
}

/** With `--timeout` a read may take the time that is left. */
const lookOptions = ({ clock, timeoutMs }: Session, startedMs: number): CallOptions =>
  timeoutMs === undefined ? {} : { deadlineMs: Math.max(LOOK_MS, startedMs + timeoutMs - clock.monotonicMs()) };
