import { isDeepStrictEqual } from 'node:util';
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import { NotSettled } from '../problems.ts';
import { isObject } from '../request/schema.ts';

export interface SettleOptions {
  /** Reads the resource. */
  readonly get: () => Promise<JsonObject>;
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** Start of the wait, by the monotonic clock: the call is part of it. */
  readonly startedMs: number;
  /** The machine must run in the end. */
  readonly mustRun: boolean;
  /** The resource must be gone in the end. */
  readonly isDeletion: boolean;
  /** Called with each new state. */
  readonly report: (state: string) => void;
}

const POLL_MS_MIN = 20;
const POLL_MS_MAX = 500;
/** How long a new set may take until its vault has responded for the first time. */
const FIRST_CHECK_MS = 5_000;
/** How long a rotation may wait for an owner: an authorization from a moment ago may still be on its way. */
const BLOCKED_MS = 2_000;
/** Reasons of a waiting rotation that end by themselves. */
const transientReasons: readonly unknown[] = [
  undefined,
  'UNKNOWN',
  'KEY_VAULT_UNREACHABLE',
  'THROTTLED',
  'KEY_NOT_YET_VALID',
];

/**
 * Polls a resource until it is in no transient state; polling survives a restart of the service. A rotation that waits for an
 * owner is not waited for.
 * @returns the resource as it was last read; `{ name, deleted: true }` for a deleted one
 * @throws NotSettled with the reason in the resource, or TIMEOUT. A failure that the resource had before does not count
 */
export async function settle(first: JsonObject, options: SettleOptions): Promise<JsonObject> {
  const { get, clock, timeoutMs, startedMs, isDeletion, report } = options;
  const endMs = startedMs + timeoutMs;
  let current = first;
  let reported = '';
  let firstCheckEndMs: number | undefined;
  let blocked: { readonly on: string; readonly endMs: number } | undefined;
  for (let waitMs = POLL_MS_MIN; ; waitMs = Math.min(waitMs * 1.5, POLL_MS_MAX)) {
    const state = stateOf(current);
    if (state !== reported) report(state);
    reported = state;
    const now = clock.monotonicMs();
    if (!isTransient(current) && (!isDeletion || current.provisioningState === 'FAILED')) {
      firstCheckEndMs ??= Math.min(endMs, now + FIRST_CHECK_MS);
      if (!isUnchecked(current) || now >= firstCheckEndMs) return judged(current, first, options);
    }
    const on = isTransient(current) ? blockerOf(current) : undefined;
    if (on === undefined) blocked = undefined;
    else if (blocked?.on !== on) {
      blocked = { on, endMs: now + BLOCKED_MS };
      report(`waits for ${on}`);
    } else if (now >= blocked.endMs) throw rotationWaits(current, state);
    if (now >= endMs) throw timedOut(current, state, timeoutMs);
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

/** `SUCCEEDED RUNNING`: the states of a resource; `DRAINED`: that of a host. */
export function stateOf(resource: JsonObject): string {
  const { provisioningState, powerState, state } = resource;
  if (state === 'DRAINING') return leftOf(resource);
  const states = [provisioningState, powerState].filter((one) => typeof one === 'string');
  return states.length === 0 ? text(state) : states.join(' ');
}

/** What a draining host still has, and what stays there until something else changes. */
function leftOf(host: JsonObject): string {
  const [left, why, stayingCount, staying] = text(host.name).startsWith('vmHosts/')
    ? leftOfVmHost(host)
    : leftOfDiskHost(host);
  const count = Number(stayingCount ?? 0);
  if (count === 0 || !Array.isArray(staying)) return `DRAINING, left: ${left}`;
  const shown = staying.map((name) => text(name).split('/').at(-1)).join(', ');
  const more = count > staying.length ? ` and ${count - staying.length} more` : '';
  return `DRAINING, left: ${left}; ${why}, these stay: ${shown}${more}`;
}

/** What is left, until when some of it stays, and how much and what stays. */
type Left = readonly [string, string, JsonValue | undefined, JsonValue | undefined];

const leftOfDiskHost = ({ diskCount, snapshotCount, openDiskCount, openDisks }: JsonObject): Left => [
  `${counted(diskCount, 'disk')}, ${counted(snapshotCount, 'snapshot')}`,
  ...(['until they are closed', openDiskCount, openDisks] as const),
];

const leftOfVmHost = ({ machineCount, blockedMachineCount, blockedMachines }: JsonObject): Left => [
  counted(machineCount, 'machine'),
  ...(['until their lost keys can be used', blockedMachineCount, blockedMachines] as const),
];

/** `1 disk`, `2 disks`; a missing count is 0. */
export const counted = (count: JsonValue | undefined, noun: string): string =>
  `${Number(count ?? 0)} ${noun}${Number(count ?? 0) === 1 ? '' : 's'}`;

function timedOut(resource: JsonObject, state: string, timeoutMs: number): NotSettled {
  const still = `still ${state} after ${timeoutMs} ms`;
  return waitOf(resource) === undefined
    ? new NotSettled('TIMEOUT', `${still}: the operation continues; wait longer with --timeout, or show the resource`)
    : rotationWaits(resource, still);
}

/** A waiting rotation fails with the reason for which it waits. */
function rotationWaits(resource: JsonObject, state: string): NotSettled {
  const wait = waitOf(resource) ?? {};
  const { doneCount, resourcesCount, waitingForKeyVersion } = wait;
  const version = text(waitingForKeyVersion);
  const hosts = hostsOf(wait);
  const until =
    hosts === undefined
      ? `waits for ${version} and continues when that can be used`
      : `waits for ${hosts} and continues when it responds`;
  const { activeKey } = resource;
  return new NotSettled(
    text(reasonOf(wait)),
    `${state}: ${doneCount} of ${resourcesCount} disks and snapshots are moved. The rotation ${until}`,
    {
      key_version: version,
      disk_encryption_set: text(resource.name),
      assigned: isObject(activeKey) ? text(activeKey.keyVersion) : '',
    },
  );
}

/** The rotation of a set, where it waits. */
const waitOf = ({ rotation }: JsonObject): JsonObject | undefined =>
  isObject(rotation) && rotation.state === 'WAITING' ? rotation : undefined;

const reasonOf = ({ waitingCode, waitingReason }: JsonObject): JsonValue | undefined => waitingCode || waitingReason;

/** The disk hosts that a rotation waits for; undefined if it waits for a key. */
const hostsOf = ({ waitingCode, unreachableDiskHosts }: JsonObject): string | undefined =>
  String(waitingCode).startsWith('DISK_HOST_') && Array.isArray(unreachableDiskHosts)
    ? unreachableDiskHosts.map(text).join(', ')
    : undefined;

/** What a rotation waits for, where an owner must act. */
function blockerOf(resource: JsonObject): string | undefined {
  const wait = waitOf(resource) ?? {};
  const reason = reasonOf(wait);
  return transientReasons.includes(reason)
    ? undefined
    : `${hostsOf(wait) ?? text(wait.waitingForKeyVersion)}: ${text(reason)}`;
}

function isTransient(resource: JsonObject): boolean {
  const states = [resource.provisioningState, resource.powerState];
  if (states.some((state) => typeof state === 'string' && state.endsWith('ING') && state !== 'RUNNING')) return true;
  return resource.state === 'DRAINING' || text(resource.movingTo) !== '';
}

/** Whether a set has not checked its key access yet. */
function isUnchecked({ provisioningState, keyAccess }: JsonObject): boolean {
  if (provisioningState !== 'SUCCEEDED' || !Array.isArray(keyAccess)) return false;
  return keyAccess.some((one) => isObject(one) && (one.state === undefined || one.state === 'STATE_UNSPECIFIED'));
}

function judged(
  resource: JsonObject,
  first: JsonObject,
  { mustRun, isDeletion }: Pick<SettleOptions, 'mustRun' | 'isDeletion'>,
): JsonObject {
  const { failure, stopReason, powerState, moveFailure } = resource;
  if (text(first.movingTo) !== '' && text(moveFailure) !== '')
    throw new NotSettled(text(moveFailure), `the move failed, and the data stays on ${text(resource.diskHost)}`);
  // A machine keeps the failure of an earlier operation until another one succeeds.
  const isDone = !isDeletion && (!mustRun || powerState === 'RUNNING');
  if (resource.provisioningState === 'FAILED' && !(isDone && isSameFailure(failure, first.failure))) {
    if (!isObject(failure)) throw new NotSettled('FAILED', 'the operation failed');
    throw new NotSettled(text(failure.code), text(failure.message), lossOf(failure.accessLoss));
  }
  if (mustRun && powerState !== 'RUNNING') {
    const loss = lossOf(stopReason);
    throw new NotSettled(loss.reason ?? 'NOT_RUNNING', `the machine is ${text(powerState)}, not RUNNING`, loss);
  }
  return resource;
}

/** Two failures of a kind differ in their time only. */
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
    diskHost: 'disk_host',
  };
  return Object.fromEntries(Object.entries(names).map(([json, name]) => [name, text(loss[json])]));
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');
