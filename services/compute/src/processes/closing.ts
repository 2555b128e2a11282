import type { CloseDiskRequest } from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import {
  type Cause,
  type CausedBy,
  type Loaded,
  Rejection,
  readEvent,
  stepCauses,
  stepIds,
  writeEvent,
} from '@interlock/event-store';
import type { CallOptions } from '@interlock/rpc';
import { inSpan, linkTo, scopeTracer } from '@interlock/runtime';
import type { Link } from '@opentelemetry/api';
import { type DiskClient, type Disks, isDefinite, type Patience, refusedBy } from '../disk-service/disks.ts';
import { ownCause, streamOf } from '../vm/causes.ts';
import type { VmDisk } from '../vm/machine.ts';
import { disksClosed } from '../vm/progress.ts';
import type { Machine } from '../vm/state.ts';
import type { ProcessParts } from './process.ts';

/** What closing disks needs. */
export type ClosingParts = Pick<ProcessParts, 'vms' | 'disks' | 'clock' | 'random' | 'log'>;

const tracer = scopeTracer('@interlock/compute');

/** Disks of one call: what the disk service stores in one commit. */
const callMax = 500;

/**
 * Closes the disks of machines that are off, and frees what was being attached to them or detached from them, in few calls
 * and one commit. A machine that changed meanwhile is left out: another open is to be closed then.
 */
export const closeMachines = async (
  parts: ClosingParts,
  machines: readonly Loaded<Machine>[],
  patience: Patience,
): Promise<void> => {
  const { vms, clock, random } = parts;
  const toClose = machines.map(({ id, state }) => ({
    vm: id,
    isDeallocated: state.power.state === 'deallocated',
    disks: state.disks.filter(({ access }) => access === 'closing'),
    event: stepIds(streamOf(id), state, 'off')[0] ?? '',
  }));
  const versions = new Map(machines.map((one) => [one.id, one.version]));
  await inSpan(tracer, 'close disks', { links: stopLinks(machines) }, async () => {
    const closed = await closeAll(parts, toClose, ownCause(random), patience);
    await vms.transactMany(
      machines,
      (state, vm, version) => (version === versions.get(vm) ? disksClosed(clock.now())(state) : []),
      ownCause(random),
      { causesOf: (state, vm) => [...stepCauses(streamOf(vm), state, 'off'), ...answers(closed.get(vm))] },
    );
  });
};

/** Most links of a span; more would be cut off. */
const linksMax = 128;

/** Closing disks belongs to the traces of the stops that left them open. */
const stopLinks = (machines: readonly Loaded<Machine>[]): readonly Link[] => {
  const stops = new Set(
    machines.flatMap(({ state: { power } }) => ('offTraceparent' in power ? (power.offTraceparent ?? []) : [])),
  );
  return [...stops].slice(0, linksMax).flatMap((stop) => linkTo(stop) ?? []);
};

/** Disks of a machine to be closed. */
export interface ToClose {
  readonly vm: string;
  readonly disks: readonly VmDisk[];
  readonly isDeallocated: boolean;
  /** The event that led to it; `''`: that of the cause. */
  readonly event?: string;
}

/**
 * Closes disks of machines, and frees disks that are not fully attached. Needs no key.
 * @returns by machine: the events of the disk service that closed its disks
 */
export const closeAll = async (
  parts: ClosingParts,
  machines: readonly ToClose[],
  cause: Cause,
  patience: Patience,
): Promise<ReadonlyMap<string, readonly string[]>> => {
  const requests: CloseDiskRequest[] = [];
  await Promise.all(
    machines.flatMap(({ vm, disks, isDeallocated, event = '' }) =>
      disks.map(async (one) => {
        const { disk, phase, attachRequest } = one;
        if (phase !== 'attached') return detachOne(parts, vm, disk, onBehalfOf(cause, event), patience, attachRequest);
        await evenIfRefused(
          (async () => {
            const attachEpoch = await openToEnd(parts, vm, one, isDeallocated, patience);
            // Number 0 closes any open, and a disk that was never opened has none.
            if (attachEpoch === undefined || (attachEpoch === 0 && !isDeallocated)) return;
            requests.push({
              name: disk,
              virtualMachine: vm,
              deallocated: isDeallocated,
              attachEpoch,
              cause: writeEvent(event),
            });
          })(),
          (error) => parts.log.warn('disk was not closed', { vm, disk, error }),
        );
      }),
    ),
  );
  const closed = new Map<string, string[]>();
  for (let start = 0; start < requests.length; start += callMax) {
    const chunk = requests.slice(start, start + callMax);
    for (const { request, refusal } of await closeEach(parts.disks, chunk, cause, patience, closed)) {
      parts.log.warn('disk was not closed', { vm: request.virtualMachine, disk: request.name, error: refusal });
    }
  }
  return closed;
};

const answers = (ids: readonly string[] = []): readonly CausedBy[] => ids.map((id) => ({ id, kind: 'answer' }));

/** The cause of a call that one machine of many needs. */
const onBehalfOf = (cause: Cause, event: string): Cause =>
  event === '' ? cause : { ...cause, causes: [{ id: event, kind: 'step' }] };

/**
 * Closes disks, and repeats that for those without a definite answer.
 * @param closed receives, by machine, the events that closed its disks; without it they are answers of the cause
 * @returns definite refusals
 * @throws Interrupted; TimedOut
 */
export const closeEach = async (
  disks: Disks,
  requests: readonly CloseDiskRequest[],
  cause: Cause,
  patience: Patience,
  closed?: Map<string, string[]>,
): Promise<readonly { readonly request: CloseDiskRequest; readonly refusal: Rejection }[]> => {
  const refusals: { request: CloseDiskRequest; refusal: Rejection }[] = [];
  let left = requests;
  await disks.insist(async (client, options) => {
    const { outcomes } = await client.closeDisks({ closings: [...left] }, { ...options, cause });
    const again: CloseDiskRequest[] = [];
    let failure: unknown;
    for (const [n, request] of left.entries()) {
      const { outcome, event = '' } = outcomes[n] ?? {};
      if (event !== '' && closed === undefined) cause.tracker?.answered([readEvent(event)]);
      else if (event !== '') addTo(closed, request.virtualMachine, readEvent(event));
      if (outcome?.$case === 'closed') continue;
      const error = refusedBy('CloseDisks', outcome?.value);
      if (isDefinite(error)) {
        refusals.push({ request, refusal: error });
      } else {
        again.push(request);
        failure = error;
      }
    }
    left = again;
    if (left.length > 0) throw failure;
  }, patience);
  return refusals;
};

/**
 * Frees a disk. A refusal means that this machine does not have it.
 * @param attachRequest the attach to refuse from now on: another replica may still send it
 */
export const detachOne = (
  { disks, log }: Pick<ClosingParts, 'disks' | 'log'>,
  vm: string,
  disk: string,
  cause: Cause,
  patience: Patience,
  attachRequest = '',
): Promise<void> => {
  const request = { name: disk, virtualMachine: vm, requestId: attachRequest };
  return evenIfRefused(
    disks.insist((client, options) => client.detachDisk(request, { ...options, cause }), patience),
    (error) => log.warn('disk was not detached', { vm, disk, error }),
  );
};

/** Deletes the disk of that unique id: when a call is repeated, another disk may have the name. */
export const deleteThat = (
  { disks }: Pick<ClosingParts, 'disks'>,
  name: string,
  uniqueId: string,
  cause: Cause,
  patience: Patience,
): Promise<void> =>
  disks.insist(async (client, options) => {
    const found = await lookUp(client, name, options);
    if (found?.uniqueId !== uniqueId) return;
    await client.deleteDisk({ name, etag: found.etag }, { ...options, cause });
  }, patience);

/** The disk of that name; `undefined` if it does not exist. */
export const lookUp = async (client: DiskClient, name: string, options: CallOptions): Promise<Disk | undefined> => {
  try {
    return await client.getDisk({ name }, options);
  } catch (error) {
    if (error instanceof Rejection && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
};

/**
 * The number of the open to close, and of no later one: another replica may have started the machine again before the close
 * arrives. The number of a stored open is known. Otherwise it is read from the disk service, and counts only if the machine
 * has not changed since. A deallocation closes every disk, so it reads again after a change.
 * @returns `undefined` if nothing is left to close
 */
const openToEnd = async (
  { disks, vms }: ClosingParts,
  vm: string,
  known: VmDisk,
  isDeallocated: boolean,
  patience: Patience,
): Promise<number | undefined> => {
  for (let disk = known; ; ) {
    const { access, attachEpoch, isOpenUnsure } = disk;
    if (isOpenUnsure !== true && (access === 'open' || (access === 'closing' && !isDeallocated))) return attachEpoch;
    const newest = await disks.insist((client, options) => client.getDisk({ name: disk.disk }, options), patience);
    const { state } = await vms.load(vm);
    const now = state.status === 'active' ? state.disks.find((one) => one.disk === disk.disk) : undefined;
    if (!now) return undefined;
    if (now.access === access && now.isOpenUnsure === isOpenUnsure && now.attachEpoch === attachEpoch) {
      return newest.attachEpoch;
    }
    if (!isDeallocated) return undefined;
    disk = now;
  }
};

const addTo = (closed: Map<string, string[]> | undefined, vm: string, event: string): void => {
  const known = closed?.get(vm);
  if (known) known.push(event);
  else closed?.set(vm, [event]);
};

/** A definite refusal to end something (it is gone, or has another owner) counts as success and is logged. */
export const evenIfRefused = async (result: Promise<unknown>, note: (error: unknown) => void): Promise<void> => {
  try {
    await result;
  } catch (error) {
    if (!(error instanceof Rejection)) throw error;
    note(error);
  }
};
