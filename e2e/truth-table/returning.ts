import type { VirtualMachine } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import type { Content } from './content.ts';
import { attachLun, createMember, disksUnderKey, type Member, patient } from './fleet.ts';
import { reasonOf } from './looking.ts';
import type { Place } from './place.ts';

/** The reason for a machine that does not exist. */
const noMachine = 'VIRTUAL_MACHINE_NOT_FOUND';

/**
 * Starts a machine, after deallocating it if it runs, so that its disks must be opened again.
 * @returns `runs`, `NOT_FOUND`, or the reason why it does not start
 */
export const startOf = async (place: Place, member: Member): Promise<string> => {
  const { compute } = place;
  const { vm: name } = member;
  try {
    const { powerState } = await compute.getVirtualMachine({ name });
    if (powerState === 'RUNNING') {
      await compute.deallocateVirtualMachine({ name });
      await ended(place, name, ({ powerState: power }) => power === 'DEALLOCATED');
    }
    return await started(place, name);
  } catch (error) {
    const reason = reasonOf(error);
    return reason === noMachine ? 'NOT_FOUND' : reason;
  }
};

/**
 * Runs a machine with all its disks again, as its user would, writes to those under the key, and reads that and all that
 * was written before.
 * @returns `there`, `none` if the machine did not exist and could be created again, `lost` if the key is lost
 * for ever, or the problem
 */
export const dataOf = async (place: Place, set: string, member: Member, content: Content): Promise<string> => {
  const { vm: name, attached } = member;
  try {
    const isThere = await exists(place, name);
    if (!isThere) await createMember(place, set, member);
    const outcome = isThere ? await started(place, name) : await created(place, name);
    if (outcome !== 'runs') return lostOr(outcome);
    if (!isThere) return 'none';
    if (attached) await place.compute.attachDisk({ name, disk: attached.name, lun: attachLun }, patient);
    let missing = 0;
    for (const disk of disksUnderKey(member)) {
      // Also for a disk without earlier writes: its data is there if it works.
      const io = await content.tryAsGuest(member, disk);
      if (io !== 'continues') return `${disk.name}: ${io}`;
      missing += await content.missingAsGuest(member, disk);
    }
    return missing === 0 ? 'there' : `${missing} blocks missing`;
  } catch (error) {
    return lostOr(reasonOf(error));
  }
};

/** A purge is the only final reason. */
const lostOr = (reason: string): string => (reason === 'KEY_PURGED' ? 'lost' : reason);

const exists = async ({ compute }: Place, name: string): Promise<boolean> => {
  const [found] = await Promise.allSettled([compute.getVirtualMachine({ name })]);
  if (found?.status === 'rejected' && reasonOf(found.reason) !== noMachine) throw found.reason;
  return found?.status === 'fulfilled';
};

/** Starts a machine and waits how it ends. @returns `runs`, or the code of the failure */
const started = async (place: Place, name: string): Promise<string> => {
  const sinceMs = place.clock.now();
  const failureIn = ({ provisioningState, failure }: VirtualMachine): string | undefined => {
    const isNew = failure?.operation === 'start' && (failure.failureTime?.getTime() ?? 0) >= sinceMs;
    return provisioningState === 'FAILED' && isNew ? failure.code : undefined;
  };
  await place.compute.startVirtualMachine({ name });
  const isOver = (machine: VirtualMachine): boolean =>
    machine.powerState === 'RUNNING' || failureIn(machine) !== undefined;
  return failureIn(await ended(place, name, isOver)) ?? 'runs';
};

const created = async (place: Place, name: string): Promise<string> => {
  const { powerState } = await ended(place, name, ({ provisioningState }) => provisioningState !== 'CREATING');
  return powerState === 'RUNNING' ? 'runs' : powerState;
};

/** Waits for a machine to reach a state. */
const ended = async (
  { compute }: Place,
  name: string,
  isEnded: (machine: VirtualMachine) => boolean,
): Promise<VirtualMachine> => {
  for await (const machine of compute.watchVirtualMachine({ name }, patient)) {
    if (isEnded(machine)) return machine;
  }
  throw new Error(`the watch of ${name} ended before it was as wanted`);
};
