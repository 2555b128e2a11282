import type { VirtualMachine } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { disksUnderKey, type Member } from './fleet.ts';
import type { Keyed } from './inject-loss.ts';
import type { Place } from './place.ts';
import type { Expectation } from './table.ts';

/** What the services show about a machine, its disks and its set, with the values of an expectation if they match one. */
export type Shown = Readonly<Record<'end' | 'stopReason' | 'disks' | 'diskReason' | 'set', string>>;

/** The part of an expectation that is shown by the services. */
export const shownOf = ({ end, stopReason, disks, diskReason, set }: Expectation): Shown => ({
  end,
  stopReason,
  disks,
  diskReason,
  set,
});

/** The machines of a resource group by their full names. @param within a name in that group */
export const machinesIn = async (
  compute: Place['compute'],
  within: string,
): Promise<ReadonlyMap<string, VirtualMachine>> => {
  const parent = within.split('/').slice(0, 4).join('/');
  const { virtualMachines } = await compute.listVirtualMachines({ parent, pageSize: 1_000 });
  return new Map(virtualMachines.map((machine) => [machine.name, machine]));
};

/** Reads the state of every machine of a fleet once. */
export const lookAt = async (
  place: Place,
  keyed: Keyed,
  members: readonly Member[],
): Promise<ReadonlyMap<Member, Shown>> => {
  const { resourceGroup: group } = keyed;
  const [machines, { disks }, set] = await Promise.all([
    machinesIn(place.compute, group),
    place.disks.listDisks({ parent: group, pageSize: 1_000 }),
    place.sets.getDiskEncryptionSet({ name: keyed.set }),
  ]);
  const access = set.keyAccess.find(({ keyVersion }) => keyVersion === keyed.keyVersion);
  const found = new Map(disks.map((disk) => [disk.name, disk]));
  return new Map(
    members.map((member) => {
      const machine = machines.get(member.vm);
      const underKey = disksUnderKey(member).map(({ name }) => found.get(name));
      return [
        member,
        {
          end: powerOf(machine),
          stopReason: inWords(machine?.stopReason?.reason),
          disks: inOne(underKey.map((disk) => disk?.availability ?? 'NONE')),
          diskReason: inOne(underKey.map((disk: Disk | undefined) => inWords(disk?.unavailableReason))),
          set: access?.state === 'AVAILABLE' ? 'none' : inWords(access?.reason),
        },
      ];
    }),
  );
};

/** The power state of a machine; while an operation is in progress another text, whatever its power. */
const powerOf = (machine: VirtualMachine | undefined): string => {
  if (!machine) return 'NONE';
  const { powerState, provisioningState } = machine;
  const isBusy = provisioningState === 'UPDATING' || provisioningState === 'CREATING';
  return isBusy ? `${powerState}, ${provisioningState}` : powerState;
};

const inWords = (reason: string | undefined): string =>
  reason === undefined || reason === 'KEY_ACCESS_REASON_UNSPECIFIED' ? 'none' : reason;

/** The value of several things if it is the same, otherwise all values. */
export const inOne = (words: readonly string[]): string => [...new Set(words)].join(' and ');

/** The reason of a refusal, or the error as a text if it has none. */
export const reasonOf = (error: unknown): string => {
  const reason = Object(error).reason;
  return typeof reason === 'string' ? reason : String(error);
};
