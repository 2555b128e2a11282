import type { VirtualMachine } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import type { JsonObject } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import { ifFound } from '../cloud/if-found.ts';
import { collectionOf } from '../cloud/resource-names.ts';
import { errorOfFailure, type ShownFailure } from '../errors/key-failure.ts';
import { errorContent, RestError } from '../errors/rest-error.ts';
import { isSettled } from '../sets/set-body.ts';
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

/** Reads outcomes from the services. */
export const openOutcomes =
  (backends: Omit<Backends, 'identity' | 'keyVault'>, clock: Pick<Clock, 'now'>): ReadOutcome =>
  async (operation, caller) =>
    outcomeOf(operation, await readTarget(backends, operation.target, caller), clock.now());

const readTarget = async (
  { sets, disks, compute }: Omit<Backends, 'identity' | 'keyVault'>,
  name: string,
  caller: Caller,
): Promise<TargetState | undefined> => {
  switch (collectionOf(name)) {
    case 'diskEncryptionSets': {
      const set = await ifFound(sets.getDiskEncryptionSet({ name }, caller.as('disk-encryption-set')));
      return set && { provisioningState: isSettled(set) ? 'SUCCEEDED' : set.provisioningState };
    }
    case 'disks':
      return ifFound(disks.getDisk({ name }, caller.as('disk')));
    case 'snapshots':
      return ifFound(disks.getSnapshot({ name }, caller.as('disk')));
    case 'virtualMachines': {
      const vm = await ifFound(compute.getVirtualMachine({ name }, caller.as('compute')));
      return vm && machineState(vm);
    }
    default:
      throw new Error(`no service has ${name}`);
  }
};

const machineState = ({ provisioningState, dataDisks, failure }: VirtualMachine): TargetState => ({
  provisioningState,
  disks: dataDisks.map(({ disk }) => disk),
  failure: failure && { ...failure, diskEncryptionSet: failure.accessLoss?.diskEncryptionSet ?? '' },
});

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
