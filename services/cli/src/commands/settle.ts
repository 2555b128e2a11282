import { isDeepStrictEqual } from 'node:util';
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import { isObject } from '../request/schema.ts';

/** What was waited for ended otherwise, or not in time. Ends the command with exit code 1. */
export class NotSettled extends Error {
  override readonly name = 'NotSettled';
  /** Stable code, for example a KeyAccessReason; `TIMEOUT` when it still goes on. */
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** What of the metadata belongs to the message. */
  readonly told: Readonly<Record<string, string>>;
  constructor(reason: string, message: string, metadata: Readonly<Record<string, string>> = {}, told = metadata) {
    super(message);
    this.reason = reason;
    this.metadata = metadata;
    this.told = told;
  }
}

export interface SettleOptions {
  /** Reads the resource again. */
  readonly get: () => Promise<JsonObject>;
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** When the time began, by the monotonic clock: the call that is waited for is part of it. */
  readonly beganMs: number;
  /** The machine has to run in the end. */
  readonly isRunWanted: boolean;
  /** What was asked is the end of it: not found is the end that was waited for. */
  readonly isDeletion: boolean;
  /** Told each new state. */
  readonly say: (state: string) => void;
}

const POLL_MS_MIN = 20;
const POLL_MS_MAX = 500;
/** How long a set that is made may take to hear from its vault for the first time, before it is shown without. */
const FIRST_ANSWER_MS = 5_000;
/** How long a rotation may stand still for somebody to act: what was asked a moment ago may still be on its way to it. */
const STUCK_MS = 2_000;
/** Why a rotation waits, where time cures it. */
const passing: readonly unknown[] = [undefined, 'UNKNOWN', 'KEY_VAULT_UNREACHABLE', 'THROTTLED', 'KEY_NOT_YET_VALID'];

/**
 * Reads a resource until it is in a passing state no more. Polls and does not watch, so that a service that restarts
 * meanwhile is no end. Answers it as it was read last;
 * what was deleted and is gone as `{ name, deleted: true }`. A failure that was there before is none of this. A rotation that goes on only once somebody acts is waited for no longer.
 * @throws NotSettled with the reason the resource gives, or TIMEOUT
 */
export async function settle(first: JsonObject, options: SettleOptions): Promise<JsonObject> {
  const { get, clock, timeoutMs, beganMs, isDeletion, say } = options;
  const end = beganMs + timeoutMs;
  let current = first;
  let told = '';
  let answerEnd: number | undefined;
  let stuck: { readonly on: string; readonly endMs: number } | undefined;
  for (let waitMs = POLL_MS_MIN; ; waitMs = Math.min(waitMs * 1.5, POLL_MS_MAX)) {
    const state = stateOf(current);
    if (state !== told) say(state);
    told = state;
    if (!isPassing(current) && (!isDeletion || current.provisioningState === 'FAILED')) {
      answerEnd ??= Math.min(end, clock.monotonicMs() + FIRST_ANSWER_MS);
      if (!isUnanswered(current) || clock.monotonicMs() >= answerEnd) return judged(current, first, options);
    }
    const now = clock.monotonicMs();
    const on = isPassing(current) ? stuckOn(current) : undefined;
    if (on === undefined) stuck = undefined;
    else if (stuck?.on !== on) {
      stuck = { on, endMs: now + STUCK_MS };
      say(`waits for ${on}`);
    } else if (now >= stuck.endMs) throw standingStill(current, state);
    if (now >= end) throw notInTime(current, state, timeoutMs);
    await clock.sleep(waitMs);
    try {
      current = await get();
    } catch (error) {
      if (isDeletion && error instanceof Rejection && error.code === 'NOT_FOUND')
        return { name: current.name ?? '', deleted: true };
      throw error;
    }
  }
}

/** `SUCCEEDED RUNNING`: what the resource says about itself. */
export function stateOf(resource: JsonObject): string {
  return [resource.provisioningState, resource.powerState].filter((state) => typeof state === 'string').join(' ');
}

function notInTime(resource: JsonObject, state: string, timeoutMs: number): NotSettled {
  const still = `still ${state} after ${timeoutMs} ms`;
  return waitOf(resource) === undefined
    ? new NotSettled('TIMEOUT', `${still}: it goes on; look again with show`)
    : standingStill(resource, still);
}

/** A rotation that waits says for what: somebody has to act, so that is told in place of the time that is over. */
function standingStill(resource: JsonObject, state: string): NotSettled {
  const { doneCount, resourcesCount, waitingForKeyVersion, ...wait } = waitOf(resource) ?? {};
  const version = text(waitingForKeyVersion);
  const moved = `${doneCount} of ${resourcesCount} disks and snapshots have moved`;
  const { activeKey } = resource;
  return new NotSettled(
    text(whyOf(wait)),
    `${state}: ${moved}, the rest waits for ${version}, and goes on by itself once that can be used`,
    {
      key_version: version,
      disk_encryption_set: text(resource.name),
      assigned_key: isObject(activeKey) ? text(activeKey.keyVersion) : '',
    },
  );
}

/** The rotation of a set, where it waits. */
const waitOf = ({ rotation }: JsonObject): JsonObject | undefined =>
  isObject(rotation) && rotation.state === 'WAITING' ? rotation : undefined;

/** Why a rotation waits: what is with its key, or the reason of another refusal. */
const whyOf = ({ waitingCode, waitingReason }: JsonObject): JsonValue | undefined => waitingCode || waitingReason;

/** What a rotation waits for, where that takes somebody's act. */
function stuckOn(resource: JsonObject): string | undefined {
  const wait = waitOf(resource) ?? {};
  const why = whyOf(wait);
  return passing.includes(why) ? undefined : `${text(wait.waitingForKeyVersion)}: ${text(why)}`;
}

function isPassing(resource: JsonObject): boolean {
  return [resource.provisioningState, resource.powerState].some(
    (state) => typeof state === 'string' && state.endsWith('ING') && state !== 'RUNNING',
  );
}

/** A set that has not heard yet whether it may use its key: what it would show is blank. */
function isUnanswered({ provisioningState, keyAccess }: JsonObject): boolean {
  if (provisioningState !== 'SUCCEEDED' || !Array.isArray(keyAccess)) return false;
  return keyAccess.some((one) => isObject(one) && (one.state === undefined || one.state === 'STATE_UNSPECIFIED'));
}

function judged(
  resource: JsonObject,
  first: JsonObject,
  { isRunWanted, isDeletion }: Pick<SettleOptions, 'isRunWanted' | 'isDeletion'>,
): JsonObject {
  const { failure, stopReason, powerState } = resource;
  // A machine keeps what an earlier operation failed for until another succeeds, and one that had nothing to do is none.
  const isDone = !isDeletion && (!isRunWanted || powerState === 'RUNNING');
  if (resource.provisioningState === 'FAILED' && !(isDone && isSameFailure(failure, first.failure))) {
    if (!isObject(failure)) throw new NotSettled('FAILED', 'it ended FAILED');
    throw new NotSettled(text(failure.code), text(failure.message), lossOf(failure.accessLoss));
  }
  if (isRunWanted && powerState !== 'RUNNING') {
    const loss = lossOf(stopReason);
    throw new NotSettled(loss.reason ?? 'NOT_RUNNING', `it ended ${text(powerState)}, not running`, loss);
  }
  return resource;
}

/** Whether it is one and the same: only what says when it failed can be told from the next of its kind. */
const isSameFailure = (one: JsonValue | undefined, other: JsonValue | undefined): boolean =>
  isObject(one) && isObject(other) && one.failureTime !== undefined && isDeepStrictEqual(one, other);

function lossOf(loss: unknown): Readonly<Record<string, string>> {
  if (!isObject(loss)) return {};
  const names = {
    reason: 'reason',
    disk: 'disk',
    diskEncryptionSet: 'disk_encryption_set',
    keyVersion: 'key_version',
    since: 'since',
    traceId: 'trace_id',
  };
  return Object.fromEntries(Object.entries(names).map(([json, name]) => [name, text(loss[json])]));
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');
