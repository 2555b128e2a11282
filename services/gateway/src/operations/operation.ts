import type { Json, JsonObject } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { RouteReply } from '../http/route.ts';

/** Work that may outlast a request. */
export interface Work {
  /** What is done, for example `virtualMachines/start`; one that ends in `/delete` has succeeded when its target is gone. */
  readonly action: string;
  /** Interlock name of the resource. */
  readonly target: string;
  readonly location: string;
  /** The segment of the operation's URL (REST-20). */
  readonly family: 'operations' | 'DiskOperations';
  /** Names of disks that the machine has once the work is done; for work of several steps. */
  readonly disks?: readonly string[];
  /** Runs to the end. @returns the reply of a synchronous call @throws the refusal of one */
  run(): Promise<RouteReply>;
  /** Reply while it runs; headers are added. */
  readonly accepted: RouteReply;
}

/** An operation that outlasted its request, as it is stored. */
export interface Operation {
  readonly id: string;
  readonly action: string;
  readonly target: string;
  /** UUID of the principal that started it, and the only one that may read it. */
  readonly principal: string;
  readonly startedAt: Instant;
  readonly disks: readonly string[];
  readonly end: OperationEnd | undefined;
}

/** How an operation ended. */
export type OperationEnd =
  | { readonly status: 'Succeeded'; readonly at: Instant; readonly output: Json }
  | { readonly status: 'Failed'; readonly at: Instant; readonly httpStatus: number; readonly error: JsonObject };

/** What a poll finds (REST-22). */
export type Finding = { readonly status: 'InProgress' } | OperationEnd;

/** An operation as the content of a record. */
export const operationContent = ({ action, target, principal, startedAt, disks, end }: Operation): JsonObject => ({
  action,
  target,
  principal,
  startedAt,
  disks: [...disks],
  ...(end === undefined ? {} : { end: { ...end } }),
});

/** An operation from the content of its record. @param id UUID */
export const operationOf = (id: string, content: JsonObject): Operation => {
  const { action, target, principal, startedAt, disks, end } = content as unknown as Omit<Operation, 'id'>;
  return { id, action, target, principal, startedAt, disks, end };
};

/** The status of an operation as clients read it. */
export const operationBody = ({ id, startedAt }: Operation, finding: Finding): unknown => ({
  name: id,
  startTime: new Date(startedAt).toISOString(),
  status: finding.status,
  ...(finding.status === 'InProgress' ? {} : { endTime: new Date(finding.at).toISOString() }),
  ...(finding.status === 'Succeeded' && finding.output !== null ? { properties: { output: finding.output } } : {}),
  ...(finding.status === 'Failed' ? { error: finding.error } : {}),
});
