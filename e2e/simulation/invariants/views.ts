import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import type { DiskEncryptionSet } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type { Vm } from '../../../services/compute/src/vm/state.ts';
import type { SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { KnownDisk } from '../oracle/disks.ts';
import type { Truth } from '../oracle/oracle.ts';
import type { Verdict } from '../runs/history-log.ts';
import { type Clients, group } from '../workload/estate.ts';

/** Most things a page holds: more than a history has. */
const everything = 1_000;

const byName = <One extends { readonly name: string }>(all: readonly One[]): ReadonlyMap<string, One> =>
  new Map(all.map((one) => [one.name, one]));

/**
 * What the services say once everything has settled is held against the truth: sets about their keys, disks about their
 * availability, machines about the keys of their disks. A fact that was lost on the way shows here (G7, G10).
 */
export const viewJudge = (parts: {
  readonly world: SimulatedCloud;
  readonly truth: Truth;
  readonly clients: Clients;
}) => {
  const { world, truth, clients } = parts;

  const checkSet = (name: string, told: DiskEncryptionSet | undefined, verdict: Verdict): void => {
    if (!told) verdict.violate('G7', `${name} is listed`, 'it is not');
    for (const { keyVersion, state, reason } of told?.keyAccess ?? []) {
      const standing = truth.losses.standing(name, keyVersion, 'opening');
      const wanted = standing.length === 0 ? 'AVAILABLE' : 'LOST';
      const reasons = standing.map((one) => one.reason).join(', ');
      // An expiry that is not to stop anything is no loss to tell of.
      if (wanted === 'LOST' && truth.losses.standing(name, keyVersion, 'running').length === 0) continue;
      if (state !== wanted) {
        verdict.violate('G7', `${name} says that ${keyVersion} is ${wanted} ${reasons}`, `${state} ${reason}`);
      } else if (state === 'LOST' && !standing.some((one) => one.reason === reason)) {
        verdict.violate('G10', `${name} says why ${keyVersion} is lost: ${reasons}`, reason);
      }
    }
  };

  const checkDisk = (disk: KnownDisk, told: Disk | undefined, verdict: Verdict): void => {
    const { name } = disk;
    if (!told) {
      verdict.violate('G7', `${name} is listed`, 'it is not');
      return;
    }
    const { availability, unavailableReason = '' } = told;
    const standing = truth.standing(disk, 'running');
    // An expiry that bars starts alone: the disk may be shown either way.
    if (standing.length === 0 && truth.standing(disk, 'opening').length > 0) return;
    if (standing.length === 0 && availability !== 'AVAILABLE') {
      verdict.violate('G7', `${name} is available again`, `${availability} ${unavailableReason}`);
    }
    if (standing.length > 0 && availability === 'AVAILABLE') {
      verdict.violate('G7', `${name} is unavailable: ${standing.map(({ reason }) => reason).join(', ')}`, availability);
    }
    if (
      availability !== 'AVAILABLE' &&
      !truth.standing(disk, 'opening').some(({ reason }) => reason === unavailableReason)
    ) {
      const reasons = standing.map(({ reason }) => reason).join(', ');
      verdict.violate('G10', `${name} says why it is ${availability}: ${reasons}`, unavailableReason);
    }
  };

  const checkMachines = async (verdict: Verdict): Promise<void> => {
    const rows = await world.storeOf('compute').listRows({ table: 'vm_v3', limit: 1_000_000 });
    for (const { key, row } of rows) {
      const vm = row as unknown as Vm;
      if (vm.status !== 'active') continue;
      for (const { disk, set, keyVersion } of vm.disks) {
        const known = truth.disks.disks.get(disk);
        if (!known || (known.set === set && truth.disks.keyVersionOf(known) === keyVersion)) continue;
        const wanted = `${known.set} ${truth.disks.keyVersionOf(known)}`;
        verdict.violate('G7', `${key} knows under which key ${disk} is: ${wanted}`, `${set} ${keyVersion}`);
      }
    }
  };

  return {
    /** Looks until something does not hold. @throws what a service throws that does not answer */
    async checkAll(verdict: Verdict): Promise<void> {
      const { diskEncryptionSets } = await clients.sets.listDiskEncryptionSets({ parent: group, pageSize: everything });
      const sets = byName(diskEncryptionSets);
      for (const [name, { isDeleted }] of truth.losses.sets) {
        if (verdict.violation) return;
        if (!isDeleted) checkSet(name, sets.get(name), verdict);
      }
      const { disks: listed } = await clients.disks.listDisks({ parent: group, pageSize: everything });
      const disks = byName(listed);
      for (const disk of truth.disks.disks.values()) {
        if (verdict.violation) return;
        if (!disk.isSnapshot && !disk.isDeleting) checkDisk(disk, disks.get(disk.name), verdict);
      }
      await checkMachines(verdict);
    },
  };
};
