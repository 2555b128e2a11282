import {
  ActivityLogEntry,
  type ActivityLogEntry_Category,
  type ActivityLogEntry_Status,
} from '@interlock/contracts/interlock/compute/v1/activity_log.ts';
import { eventReader, type RecordedEvent } from '@interlock/event-store';
import { traceIdOf } from '@interlock/runtime';
import type { GuestEnd } from '../guests/vm-host.ts';
import { evolve, initial, virtualMachines } from './decider.ts';
import type { VmEvent } from './events.ts';
import type { Failure, KeyLoss, Work, WorkKind } from './machine.ts';
import { currentWork, stoppingLossOf, type Vm } from './state.ts';

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

/** The part of a row that the event says. */
interface Row {
  readonly operation: WorkKind;
  readonly operationId: string;
  readonly status: ActivityLogEntry_Status;
  readonly category?: ActivityLogEntry_Category;
  readonly properties?: Readonly<Record<string, string>>;
  /** Who decided it, where that is not who began it all. */
  readonly caller?: string;
}

const vmEvent = eventReader(virtualMachines);

/**
 * The activity log of a machine, oldest first (VM-43, VM-44). It is read from the machine's own events: they hold who,
 * when, and what began it, so a second record could only differ.
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
    const begun = rows.find(({ status }) => status === 'ACTIVE');
    if (begun !== undefined) healthEvent = begun.operationId;
    if (rows.some(({ status }) => status === 'RESOLVED')) healthEvent = undefined;
    state = evolve(state, event);
  }
  return entries;
};

const entry = (vm: string, { version, time, cause }: RecordedEvent, n: number, row: Row): ActivityLogEntry => {
  const { category = 'ADMINISTRATIVE', properties = {} } = row;
  // A row about a lost key has the trace of the loss, where that is known: it leads to who took the key away.
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

const rowsOf = (vm: Vm, event: VmEvent, healthEvent: string | undefined): readonly Row[] => {
  const work = currentWork(vm);
  const ended = (status: ActivityLogEntry_Status): readonly Row[] =>
    work === undefined ? [] : [{ operation: work.kind, operationId: work.id, status }];
  const resolved: readonly Row[] =
    healthEvent === undefined
      ? []
      : [
          {
            operation: 'keyStop',
            operationId: healthEvent,
            status: 'RESOLVED',
            category: 'RESOURCE_HEALTH',
            properties: { availability: 'Available' },
          },
        ];
  switch (event.type) {
    case 'VmCreationBegun':
    case 'VmDeallocating':
    case 'VmDeleting':
    case 'DiskAttaching':
    case 'DiskDetaching':
      return [{ operation: event.work.kind, operationId: event.work.id, status: 'STARTED' }];
    case 'VmCreated':
      return ended('ACCEPTED');
    case 'VmStarting':
      // A restart began when it stopped.
      if (event.work.kind === 'restart') return ended('ACCEPTED');
      return [
        { operation: event.work.kind, operationId: event.work.id, status: 'STARTED', ...startOf(vm, event.work) },
      ];
    case 'VmStarted':
      return [...ended('SUCCEEDED'), ...resolved];
    case 'VmDeallocated':
    case 'VmDeleted':
    case 'DiskAttachedToVm':
    case 'DiskDetachedFromVm':
      return ended('SUCCEEDED');
    case 'VmStopped':
      return work?.kind === 'powerOff' ? ended('SUCCEEDED') : [];
    case 'VmCreationFailed':
    case 'VmStartFailed':
    case 'DiskAttachFailed':
      return [failed(event.failure)];
    case 'VmStopping': {
      const { work: begun, reason, end, blocked = [], preempted } = event;
      if (begun.kind !== 'keyStop' && begun.kind !== 'guestEnded') {
        return [{ operation: begun.kind, operationId: begun.id, status: 'STARTED' }];
      }
      const health: Row = {
        operation: begun.kind,
        operationId: begun.id,
        status: 'ACTIVE',
        category: 'RESOURCE_HEALTH',
        properties: reason === undefined ? endProperties(end) : keyProperties(reason, [reason, ...blocked]),
      };
      return preempted === undefined ? [health] : [failed(preempted), health];
    }
    case 'KeyAccessReturned': {
      const isLast =
        vm.status === 'active' &&
        vm.blocked.every(({ set, keyVersion }) => set === event.set && keyVersion === event.keyVersion);
      return isLast ? resolved : [];
    }
    case 'DiskKeyChanged': {
      const isLast =
        vm.status === 'active' && vm.blocked.length > 0 && vm.blocked.every(({ disk }) => disk === event.disk);
      return isLast ? resolved : [];
    }
    case 'OutageExplained': {
      if (healthEvent === undefined) return [];
      const explained = event.disks.map((disk) => ({ ...event.loss, disk }));
      const [first] = explained;
      if (!first) return [];
      return [
        {
          operation: 'keyStop',
          operationId: healthEvent,
          status: 'ACTIVE',
          category: 'RESOURCE_HEALTH',
          properties: keyProperties(first, explained),
        },
      ];
    }
    case 'NextStartBlocked': {
      const [first] = event.blocked;
      if (!first) return [];
      const isOn = vm.status === 'active' && vm.power.state === 'running';
      const properties = { ...keyProperties(first, event.blocked), ...(isOn ? runsOn : {}) };
      return [
        {
          operation: 'keyStop',
          operationId: healthEvent ?? event.id,
          status: 'ACTIVE',
          category: 'RESOURCE_HEALTH',
          properties,
        },
      ];
    }
    case 'ContentMismatchFound': {
      const { id, count, newest } = event;
      return [
        {
          operation: 'guestEnded',
          operationId: id,
          status: 'FAILED',
          category: 'RESOURCE_HEALTH',
          properties: {
            annotation: 'VirtualMachineContentMismatch',
            cause: 'CONTENT_MISMATCH',
            disks: newest.disk,
            offsetBytes: String(newest.offset),
            lengthBytes: String(newest.length),
            count: String(count),
          },
        },
      ];
    }
    case 'DisksOpened':
    case 'VmCreationUndoing':
    case 'DiskAttachUndoing':
    case 'DisksClosed':
    case 'VmKeptOff':
      return [];
  }
};

const failed = ({ operation, operationId, code, message, loss }: Failure): Row => ({
  operation,
  operationId,
  status: 'FAILED',
  properties: { statusCode: code, statusMessage: message, ...(loss === undefined ? {} : keyProperties(loss, [loss])) },
});

/** A start that nobody asked for is one because a key is back, or another one for its data: said is by whom, and why. */
const startOf = (vm: Vm, { caller, traceparent }: Work): Pick<Row, 'caller' | 'properties'> => {
  const loss = vm.status === 'active' ? stoppingLossOf(vm) : undefined;
  if (!caller.startsWith('system:') || loss === undefined) return {};
  const { set, keyVersion } = loss;
  const traceId = traceIdOf(traceparent) ?? '';
  return { caller, properties: { cause: 'KEY_ACCESS_RESTORED', keyUrl: keyVersion, diskEncryptionSet: set, traceId } };
};

/** Old events do not say which it was. */
const endProperties = (end: GuestEnd = 'GUEST_ENDED'): Readonly<Record<string, string>> => ({
  availability: 'Unavailable',
  annotation: end === 'GUEST_ENDED' ? 'VirtualMachineStoppedInternally' : 'VirtualMachineHostRestarted',
  cause: end,
});

/** Of a machine that goes on without its key, and cannot be started again. */
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
