import {
  ActivityLogEntry,
  type ActivityLogEntry_Category,
  type ActivityLogEntry_Status,
} from '@interlock/contracts/interlock/compute/v1/activity_log.ts';
import { eventReader, type RecordedEvent } from '@interlock/event-store';
import { traceIdOf } from '@interlock/runtime';
import { evolve, initial, virtualMachines } from './decider.ts';
import type { VmEvent } from './events.ts';
import { isLossOf } from './loss-of-key.ts';
import type { Failure, KeyLoss, MachineEnd, Work, WorkKind } from './machine.ts';
import { currentWork, stopCauseOf, stoppingLossOf, type Vm } from './state.ts';

/** Actions as public clouds name them. */
const operations: Readonly<Record<WorkKind, string>> = {
  create: 'virtualMachines/write',
  attach: 'virtualMachines/write',
  detach: 'virtualMachines/write',
  delete: 'virtualMachines/delete',
  start: 'virtualMachines/start/action',
  restart: 'virtualMachines/restart/action',
  powerOff: 'virtualMachines/powerOff/action',
  deallocate: 'virtualMachines/deallocate/action',
  keyStop: 'virtualMachines/healthEvent',
  guestEnded: 'virtualMachines/healthEvent',
};

/** The part of a row that comes from the event. */
interface Row {
  readonly operation: WorkKind;
  readonly operationId: string;
  readonly status: ActivityLogEntry_Status;
  readonly category?: ActivityLogEntry_Category;
  readonly properties?: Readonly<Record<string, string>>;
  /** The caller, if it is not that of the event's cause. */
  readonly caller?: string;
}

type EventOf<Type extends VmEvent['type']> = Extract<VmEvent, { type: Type }>;

const vmEvent = eventReader(virtualMachines);

/**
 * The activity log of a machine, oldest first (VM-43, VM-44). It is derived from the machine's events, which have caller, time
 * and cause.
 * @param recorded the whole stream
 */
export const activityLogOf = (vm: string, recorded: readonly RecordedEvent[]): readonly ActivityLogEntry[] => {
  const entries: ActivityLogEntry[] = [];
  let state: Vm = initial;
  let healthEvent: string | undefined;
  for (const record of recorded) {
    const found = vmEvent(record);
    if (!found) continue;
    const { event } = found;
    const rows = rowsOf(state, event, healthEvent);
    for (const [n, row] of rows.entries()) entries.push(entry(vm, record, n, row));
    const active = rows.find(({ status }) => status === 'ACTIVE');
    if (active !== undefined) healthEvent = active.operationId;
    if (rows.some(({ status }) => status === 'RESOLVED')) healthEvent = undefined;
    state = evolve(state, event);
  }
  return entries;
};

const entry = (vm: string, { version, time, cause }: RecordedEvent, n: number, row: Row): ActivityLogEntry => {
  const { category = 'ADMINISTRATIVE', properties = {} } = row;
  // A row about an access loss has the trace of the loss if known: it leads to the change that removed access.
  const traceId = properties.traceId || traceIdOf(cause.traceparent);
  return ActivityLogEntry.fromPartial({
    name: `${vm}/activityLogEntries/${idOf(version, n)}`,
    eventTime: new Date(time),
    operation: operations[row.operation],
    operationId: row.operationId,
    status: row.status,
    category,
    caller: category === 'ADMINISTRATIVE' ? (row.caller ?? cause.caller) : '',
    correlationId: cause.correlationId,
    properties: traceId === undefined ? properties : { ...properties, traceId },
  });
};

/** Sorts as the events do. */
const idOf = (version: number, n: number): string => `${String(version).padStart(10, '0')}-${n}`;

/** @param healthEvent operation id of the health event that is not resolved yet */
const rowsOf = (vm: Vm, event: VmEvent, healthEvent: string | undefined): readonly Row[] => {
  switch (event.type) {
    case 'VmCreationStarted':
    case 'VmDeallocating':
    case 'VmDeleting':
    case 'DiskAttaching':
    case 'DiskDetaching':
      return [rowOf(event.work, 'STARTED')];
    case 'VmCreated':
      return ended(vm, 'ACCEPTED');
    case 'VmStarting':
      // A restart started when it stopped the machine.
      if (event.work.kind === 'restart') return ended(vm, 'ACCEPTED');
      return [{ ...rowOf(event.work, 'STARTED'), ...startOf(vm, event.work) }];
    case 'VmStarted':
      return [...ended(vm, 'SUCCEEDED'), ...resolved(healthEvent)];
    case 'VmDeallocated':
    case 'VmDeleted':
    case 'DiskAttachedToVm':
    case 'DiskDetachedFromVm':
      return ended(vm, 'SUCCEEDED');
    case 'VmStopped':
      return stoppedRows(vm, event);
    case 'VmCreationFailed':
    case 'VmStartFailed':
    case 'DiskAttachFailed':
      return [failed(event.failure)];
    case 'VmStopping':
      return stoppingRows(event);
    case 'KeyAccessReturned':
    case 'DiskKeyChanged':
      return isUnblocked(vm, event) ? resolved(healthEvent) : [];
    case 'OutageExplained':
      return healthEvent === undefined
        ? []
        : lossRows(
            healthEvent,
            event.disks.map((disk) => ({ ...event.loss, disk })),
          );
    case 'NextStartBlocked': {
      const isOn = vm.status === 'active' && vm.power.state === 'running';
      return lossRows(healthEvent ?? event.id, event.blocked, isOn ? runsOn : {});
    }
    case 'ContentMismatchFound':
      return [mismatchRow(event)];
    case 'VmPlaced':
    case 'DisksOpened':
    case 'VmCreationUndoing':
    case 'DiskAttachUndoing':
    case 'DisksClosed':
    case 'VmKeptOff':
      return [];
  }
};

const rowOf = ({ kind, id }: Work, status: ActivityLogEntry_Status): Row => ({
  operation: kind,
  operationId: id,
  status,
});

/** The row about the work under way. */
const ended = (vm: Vm, status: ActivityLogEntry_Status): readonly Row[] => {
  const work = currentWork(vm);
  return work === undefined ? [] : [rowOf(work, status)];
};

const healthRow = (
  operation: WorkKind,
  operationId: string,
  status: ActivityLogEntry_Status,
  properties: Row['properties'] = {},
): Row => ({ operation, operationId, status, category: 'RESOURCE_HEALTH', properties });

const resolved = (healthEvent: string | undefined): readonly Row[] =>
  healthEvent === undefined ? [] : [healthRow('keyStop', healthEvent, 'RESOLVED', { availability: 'Available' })];

const stoppingRows = ({
  work,
  reason,
  end,
  detail,
  blocked = [],
  preempted,
}: EventOf<'VmStopping'>): readonly Row[] => {
  if (work.kind !== 'keyStop' && work.kind !== 'guestEnded') return [rowOf(work, 'STARTED')];
  const properties = reason === undefined ? endProperties(end, detail) : keyProperties(reason, [reason, ...blocked]);
  const health = healthRow(work.kind, work.id, 'ACTIVE', properties);
  return preempted === undefined ? [health] : [failed(preempted), health];
};

/** The end of a stop: the machine is off. A stop by the platform has its decision in another row, earlier by the time the guest took. */
const stoppedRows = (vm: Vm, { reason }: EventOf<'VmStopped'>): readonly Row[] => {
  const work = currentWork(vm);
  if (work?.kind === 'powerOff') return [rowOf(work, 'SUCCEEDED')];
  if (work?.kind !== 'keyStop' && work?.kind !== 'guestEnded') return [];
  const cause = vm.status === 'active' ? stopCauseOf(vm) : undefined;
  const properties =
    reason === undefined
      ? { cause: cause?.kind === 'guestEnded' ? cause.end : 'GUEST_ENDED' }
      : { cause: reason.reason, traceId: reason.traceId };
  return [healthRow(work.kind, work.id, 'SUCCEEDED', { availability: 'Unavailable', ...properties })];
};

/** Whether nothing blocks the machine any more once the event has its effect. */
const isUnblocked = (vm: Vm, event: EventOf<'KeyAccessReturned' | 'DiskKeyChanged'>): boolean => {
  if (vm.status !== 'active') return false;
  if (event.type === 'DiskKeyChanged') {
    return vm.blocked.length > 0 && vm.blocked.every(({ disk }) => disk === event.disk);
  }
  return vm.blocked.every((loss) => isLossOf(loss, event));
};

const lossRows = (
  operationId: string,
  losses: readonly KeyLoss[],
  properties: Row['properties'] = {},
): readonly Row[] => {
  const [first] = losses;
  if (first === undefined) return [];
  return [healthRow('keyStop', operationId, 'ACTIVE', { ...keyProperties(first, losses), ...properties })];
};

const mismatchRow = ({ id, count, newest }: EventOf<'ContentMismatchFound'>): Row =>
  healthRow('guestEnded', id, 'FAILED', {
    annotation: 'VirtualMachineContentMismatch',
    cause: 'CONTENT_MISMATCH',
    disks: newest.disk,
    offsetBytes: String(newest.offset),
    lengthBytes: String(newest.length),
    count: String(count),
  });

const failed = ({ operation, operationId, code, message, loss }: Failure): Row => ({
  operation,
  operationId,
  status: 'FAILED',
  properties: { statusCode: code, statusMessage: message, ...(loss === undefined ? {} : keyProperties(loss, [loss])) },
});

/** A start by the platform follows restored access or a new key: the row names the platform and the reason. */
const startOf = (vm: Vm, { caller, traceparent }: Work): Pick<Row, 'caller' | 'properties'> => {
  const loss = vm.status === 'active' ? stoppingLossOf(vm) : undefined;
  if (!caller.startsWith('system:') || loss === undefined) return {};
  const { set, keyVersion } = loss;
  const traceId = traceIdOf(traceparent) ?? '';
  return { caller, properties: { cause: 'KEY_ACCESS_RESTORED', keyUrl: keyVersion, diskEncryptionSet: set, traceId } };
};

/** Names of the public cloud for what happened to a machine. */
const annotations: Readonly<Record<MachineEnd, string>> = {
  GUEST_ENDED: 'VirtualMachineStoppedInternally',
  HOST_RESTARTED: 'VirtualMachineHostRestarted',
  HOST_LOST: 'VirtualMachineHostFailed',
  HOST_DRAINED: 'VirtualMachineHostDrained',
};

const endProperties = (end: MachineEnd = 'GUEST_ENDED', detail?: string): Readonly<Record<string, string>> => ({
  availability: 'Unavailable',
  annotation: annotations[end],
  cause: end,
  ...(detail === undefined ? {} : { detail }),
});

/** A machine that keeps running without its key cannot be started again. */
const runsOn = { availability: 'Degraded', annotation: 'VirtualMachineNextStartBlocked' } as const;

const keyProperties = (loss: KeyLoss, blocked: readonly KeyLoss[]): Readonly<Record<string, string>> => ({
  availability: 'Unavailable',
  annotation: 'VirtualMachineStorageOffline',
  cause: loss.reason,
  keyUrl: loss.keyVersion,
  diskEncryptionSet: loss.set,
  disks: blocked.map(({ disk }) => disk).join(','),
  traceId: loss.traceId,
});
