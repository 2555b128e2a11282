import type { Vm } from '../../../services/compute/src/vm/decider.ts';
import type { Verdict } from './history-log.ts';
import type { Truth } from './oracle.ts';
import type { SimulatedCloud } from './simulated-cloud.ts';
import type { Clients } from './workload-estate.ts';

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

  const checkSet = async (name: string, verdict: Verdict): Promise<void> => {
    const found = await clients.sets.getDiskEncryptionSet({ name });
    for (const { keyVersion, state, reason } of found.keyAccess) {
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

  const checkDisk = async (name: string, verdict: Verdict): Promise<void> => {
    const disk = truth.disks.disks.get(name);
    if (!disk || disk.isSnapshot || disk.isDeleting) return;
    const { availability, unavailableReason = '' } = await clients.disks.getDisk({ name });
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
    const rows = await world.storeOf('compute').listRows({ table: 'vm_v1', limit: 1_000_000 });
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
      for (const [name, { isDeleted }] of truth.losses.sets) {
        if (verdict.violation) return;
        if (!isDeleted) await checkSet(name, verdict);
      }
      for (const name of [...truth.disks.disks.keys()]) {
        if (verdict.violation) return;
        await checkDisk(name, verdict);
      }
      await checkMachines(verdict);
    },
  };
};
