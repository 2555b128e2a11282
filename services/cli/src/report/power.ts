import type { JsonObject } from '@bufbuild/protobuf';
import type { PowerRecord } from '@interlock/lab';
import type { ActivePower } from '@interlock/lab/report/activity/activity';
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
 * The power states of a machine, by its activity log, oldest first. A stop has two rows: the platform's decision (`stopping`), and its end, from
 * which on the machine is off (`stopped`). If a log lacks the end, the decision stands for it and is marked.
 * @param entries the whole log
 * @param isStopping whether the machine is being stopped now: then its last stop has no end yet
 */
export function powerOf(entries: readonly JsonObject[], isStopping: boolean): readonly ActivePower[] {
  const power: ActivePower[] = [];
  const accepted = new Set(entries.filter(({ status }) => status === 'ACCEPTED').map(({ operationId }) => operationId));
  for (const entry of entries) {
    const atMs = timeOf(entry.eventTime) ?? 0;
    const last = power.at(-1);
    // A stop replaces a start under way: the row of the failed start is part of the decision.
    if (isDecision(entry) && last?.state === 'start-failed' && last.atMs === atMs) power.pop();
    const before = power.at(-1);
    const { traceId = '' } = propertiesOf(entry);
    for (const state of statesOf(entry, before?.state, accepted.has(entry.operationId)))
      power.push({ atMs, state, reason: reasonOf(entry, state, before), traceId: String(traceId) });
  }
  return power.map((record, n) => {
    const next = power[n + 1];
    const hasEnd = next === undefined ? isStopping : next.state === 'stopped';
    return record.state !== 'stopping' || hasEnd ? record : { ...record, state: 'stopped', isDecision: true };
  });
}

const propertiesOf = ({ properties }: JsonObject): JsonObject => (isObject(properties) ? properties : {});

/** The access loss that stopped the machine or refused its start; empty for other causes. */
function reasonOf(entry: JsonObject, state: PowerRecord['state'], before: PowerRecord | undefined): string {
  const { cause, statusCode, keyUrl } = propertiesOf(entry);
  if (state === 'stopped') return before?.state === 'stopping' ? before.reason : '';
  const isOfKey = state === 'start-failed' || (state === 'stopping' && keyUrl !== undefined);
  return isOfKey ? String(cause ?? statusCode ?? '') : '';
}

/** Whether a row is the platform's decision to stop a machine. */
const isDecision = (entry: JsonObject): boolean =>
  entry.category === 'RESOURCE_HEALTH' &&
  entry.status === 'ACTIVE' &&
  propertiesOf(entry).availability === 'Unavailable';

/** The power states that a row shows, mostly none or one. @param isAccepted whether the operation creates or restarts the machine */
function statesOf(
  entry: JsonObject,
  before: PowerRecord['state'] | undefined,
  isAccepted: boolean,
): readonly PowerRecord['state'][] {
  const { operation, status, category } = entry;
  if (category === 'RESOURCE_HEALTH') {
    if (isDecision(entry)) return off.has(before) || before === 'stopping' ? [] : ['stopping'];
    return status === 'SUCCEEDED' ? ['stopped'] : [];
  }
  const verb = String(operation)
    .replace(/^virtualMachines\//, '')
    .replace(/\/action$/, '');
  const isStart = verb === 'start' || verb === 'restart' || (verb === 'write' && isAccepted);
  if (isStart && status === 'SUCCEEDED') return ['running'];
  if (isStart && status === 'FAILED') return ['start-failed'];
  if (verb === 'start' && status === 'STARTED') return ['starting'];
  if (verb === 'restart' && status === 'STARTED') return ['stopping'];
  // A restart is accepted once its guest is off.
  if (status === 'ACCEPTED') return verb === 'restart' ? ['stopped', 'starting'] : ['starting'];
  if (status !== 'SUCCEEDED') return [];
  if (verb === 'powerOff') return ['stopped'];
  if (verb === 'deallocate') return ['deallocated'];
  return verb === 'delete' ? ['deleted'] : [];
}

/** Milliseconds since the epoch; undefined if the time is absent. */
export const timeOf = (time: unknown): number | undefined => (typeof time === 'string' ? Date.parse(time) : undefined);
