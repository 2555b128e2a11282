import type { JsonObject } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import type { Caller } from '../cloud/caller.ts';
import { type Collection, collectionOf } from '../cloud/resource-names.ts';
import { errorOfFailure, type ShownFailure } from '../errors/key-failure.ts';
import { errorContent, RestError } from '../errors/rest-error.ts';
import type { Finding, Operation } from './operation.ts';

/** Reads the outcome of an operation whose process has ended, with the rights of the client that polls. */
export type ReadOutcome = (operation: Operation, caller: Caller) => Promise<Finding>;

/** The state of a resource that matters for an operation on it. */
export interface TargetState {
  readonly provisioningState: string;
  readonly failure?: ShownFailure | undefined;
  /** Disks of a machine. */
  readonly disks?: readonly string[];
}

/** Reads the state of a resource of one type by its Interlock name; undefined: it does not exist. */
export type ReadState = (name: string, caller: Caller) => Promise<TargetState | undefined>;

/** Reads outcomes from the services. */
export const openOutcomes =
  (states: Readonly<Record<Collection, ReadState>>, clock: Pick<Clock, 'now'>): ReadOutcome =>
  async (operation, caller) => {
    const collection = collectionOf(operation.target);
    if (collection === undefined) throw new Error(`no service has ${operation.target}`);
    return outcomeOf(operation, await states[collection](operation.target, caller), clock.now());
  };

const passing: readonly string[] = ['CREATING', 'UPDATING', 'DELETING'];

/** The outcome of an operation, from the state of its resource. @param target undefined: it does not exist */
export const outcomeOf = (operation: Operation, target: TargetState | undefined, at: number): Finding => {
  const isDeletion = operation.action.endsWith('/delete');
  if (target === undefined)
    return isDeletion ? { status: 'Succeeded', at, output: null } : failed(interrupted(operation), at);
  if (passing.includes(target.provisioningState)) return { status: 'InProgress' };
  if (target.provisioningState === 'FAILED' && target.failure !== undefined)
    return failed(errorOfFailure(target.failure), at);
  const isComplete = operation.disks.length === 0 || hasSame(operation.disks, target.disks ?? []);
  return isDeletion || !isComplete ? failed(interrupted(operation), at) : { status: 'Succeeded', at, output: null };
};

const hasSame = (wanted: readonly string[], present: readonly string[]): boolean =>
  wanted.toSorted().join() === present.toSorted().join();

const interrupted = ({ action }: Operation): RestError =>
  new RestError(
    409,
    'OperationInterrupted',
    `The gateway was restarted during ${action}, and the operation is not complete. Send the request again.`,
  );

const failed = (error: RestError, at: number): Finding => ({
  status: 'Failed',
  at,
  httpStatus: error.status,
  error: errorContent(error) as JsonObject,
});
