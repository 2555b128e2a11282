import type { Json, JsonObject } from '@interlock/event-store';

/** Names of the fields of events that the rules about causes read, at any depth. None of them holds a secret. */
const comparedFields: ReadonlySet<string> = new Set([
  ...['at', 'attachEpoch', 'blocked', 'caller', 'correlationId', 'disk', 'diskVersion', 'disks', 'encryption', 'epoch'],
  ...['expiresAt', 'generation', 'id', 'keyVersion', 'kind', 'loss', 'opened', 'owner', 'position', 'principal'],
  ...['principalType', 'reason', 'removed', 'requestId', 'scope', 'set', 'since', 'version', 'virtualMachine', 'work'],
  'workload',
]);

/** The data of an event without the fields that no rule about causes reads: enough to derive its causes again, without secrets. */
export const comparedData = (data: JsonObject): JsonObject =>
  Object.fromEntries(
    Object.entries(data).flatMap(([name, value]) => (comparedFields.has(name) ? [[name, compared(value)]] : [])),
  );

const compared = (value: Json): Json => {
  if (Array.isArray(value)) return value.map(compared);
  return typeof value === 'object' && value !== null ? comparedData(value as JsonObject) : value;
};
