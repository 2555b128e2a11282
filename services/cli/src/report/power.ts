import type { JsonObject } from '@bufbuild/protobuf';
import type { PowerRecord } from '@interlock/experiment';
import { isObject } from '../request/schema.ts';

/** States of a machine in which it is off. */
const off: ReadonlySet<PowerRecord['state'] | undefined> = new Set([
  'stopped',
  'deallocated',
  'deleted',
  'start-failed',
  undefined,
]);

/**
 * The power states of a machine, by its activity log, oldest first. The log has the decision to stop a machine because of a key, and not the
 * end of the stop: for the last stop that is the machine's `stopTime`, for earlier ones the time of the decision.
 * @param entries the whole log
 * @param machine as compute shows it; undefined if it is deleted
 */
export function powerOf(entries: readonly JsonObject[], machine: JsonObject | undefined): readonly PowerRecord[] {
  const power: PowerRecord[] = [];
  const creations = new Set(
    entries.filter(({ status }) => status === 'ACCEPTED').map(({ operationId }) => operationId),
  );
  for (const entry of entries) {
    const state = stateOf(entry, power.at(-1)?.state, creations.has(entry.operationId));
    if (state === undefined) continue;
    const { traceId = '', cause, statusCode } = isObject(entry.properties) ? entry.properties : {};
    const reason = isHealth(entry) || state === 'start-failed' ? String(cause ?? statusCode ?? '') : '';
    power.push({ atMs: timeOf(entry.eventTime) ?? 0, state, reason, traceId: String(traceId) });
  }
  return withStopTime(power, timeOf(machine?.stopTime));
}

const isHealth = ({ category }: JsonObject): boolean => category === 'RESOURCE_HEALTH';

/** The power state that a row shows; undefined if it shows none. @param isCreation whether the operation makes or restarts the machine */
function stateOf(
  { operation, status, properties, category }: JsonObject,
  before: PowerRecord['state'] | undefined,
  isCreation: boolean,
): PowerRecord['state'] | undefined {
  const verb = String(operation)
    .replace(/^virtualMachines\//, '')
    .replace(/\/action$/, '');
  if (category === 'RESOURCE_HEALTH') {
    const isUnavailable = isObject(properties) && properties.availability === 'Unavailable';
    return status === 'ACTIVE' && isUnavailable && !off.has(before) ? 'stopped' : undefined;
  }
  const isStart = verb === 'start' || verb === 'restart' || (verb === 'write' && isCreation);
  if (isStart && status === 'SUCCEEDED') return 'running';
  if (isStart && status === 'FAILED') return 'start-failed';
  if (verb === 'start' && status === 'STARTED') return 'starting';
  if (verb === 'restart' && status === 'STARTED') return 'stopped';
  if (status !== 'SUCCEEDED') return undefined;
  if (verb === 'powerOff') return 'stopped';
  if (verb === 'deallocate') return 'deallocated';
  return verb === 'delete' ? 'deleted' : undefined;
}

/** Moves the last stop by the platform to the moment at which the machine was off. */
function withStopTime(power: readonly PowerRecord[], stopMs: number | undefined): readonly PowerRecord[] {
  const at = power.findLastIndex(({ state }) => state === 'stopped');
  const [last, next] = [power[at], power[at + 1]];
  if (last === undefined || stopMs === undefined || stopMs < last.atMs || (next !== undefined && stopMs > next.atMs))
    return power;
  const stopping: readonly PowerRecord[] = last.reason === '' ? [] : [{ ...last, state: 'stopping' }];
  return [...power.slice(0, at), ...stopping, { ...last, atMs: stopMs }, ...power.slice(at + 1)];
}

/** Milliseconds since the epoch; undefined if the time is absent. */
export const timeOf = (time: unknown): number | undefined => (typeof time === 'string' ? Date.parse(time) : undefined);
