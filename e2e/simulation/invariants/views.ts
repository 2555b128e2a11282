import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import type { DiskEncryptionSet } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type { Findings } from '@interlock/lab/judge/findings';
import type { KnownDisk } from '@interlock/lab/judge/model/disks';
import type { Vm } from '../../../services/compute/src/vm/state.ts';
import type { SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { SimulatedTruth } from '../truth/truth.ts';
import { type Clients, group } from '../workload/estate.ts';

/** Page size: more than a history has. */
const everything = 1_000;

const byName = <One extends { readonly name: string }>(all: readonly One[]): ReadonlyMap<string, One> =>
  new Map(all.map((one) => [one.name, one]));

interface Parts {
  readonly world: Pick<SimulatedCloud, 'storeOf'>;
  readonly truth: SimulatedTruth;
  readonly clients: Clients;
}

/**
 * Compares what the services show at the end with the truth: sets about their keys, disks about their availability, machines
 * about the keys of their disks. A fact that was lost shows here (G7, G10). Stops at the first difference.
 * @throws the error of a service that does not respond
 */
export const checkViews = async ({ world, truth, clients }: Parts, log: Findings): Promise<void> => {
  const { diskEncryptionSets } = await clients.sets.listDiskEncryptionSets({ parent: group, pageSize: everything });
  const sets = byName(diskEncryptionSets);
  for (const [name, { isDeleted }] of truth.losses.sets) {
    if (log.violation) return;
    if (!isDeleted) checkSet(truth, name, sets.get(name), log);
  }
  const { disks: listed } = await clients.disks.listDisks({ parent: group, pageSize: everything });
  const disks = byName(listed);
  for (const disk of truth.disks.disks.values()) {
    if (log.violation) return;
    if (!disk.isSnapshot && !disk.isDeleting) checkDisk(truth, disk, disks.get(disk.name), log);
  }
  await checkMachines(world, truth, log);
};

const checkSet = (truth: SimulatedTruth, name: string, shown: DiskEncryptionSet | undefined, log: Findings): void => {
  if (!shown) log.violate('G7', `${name} is listed`, 'it is not');
  for (const { keyVersion, state, reason } of shown?.keyAccess ?? []) {
    const blockers = truth.losses.blockers(name, keyVersion, 'opening');
    const wanted = blockers.length === 0 ? 'AVAILABLE' : 'LOST';
    const reasons = blockers.map((one) => one.reason).join(', ');
    // An expiry that stops nothing is not published as a loss.
    if (wanted === 'LOST' && truth.losses.blockers(name, keyVersion, 'running').length === 0) continue;
    if (state !== wanted) {
      log.violate('G7', `${name} shows ${keyVersion} as ${wanted} ${reasons}`, `${state} ${reason}`);
    } else if (state === 'LOST' && !blockers.some((one) => one.reason === reason)) {
      log.violate('G10', `${name} shows why ${keyVersion} is lost: ${reasons}`, reason);
    }
  }
};

const checkDisk = (truth: SimulatedTruth, disk: KnownDisk, shown: Disk | undefined, log: Findings): void => {
  const { name } = disk;
  if (!shown) {
    log.violate('G7', `${name} is listed`, 'it is not');
    return;
  }
  const { availability, unavailableReason = '', diskHost, diskHostState } = shown;
  if (diskHost !== `diskHosts/${disk.host}` || diskHostState !== 'HOST_SERVING')
    log.violate('G10', `${name} shows that ${disk.host} serves it`, `${diskHost} ${diskHostState}`);
  const running = truth.blockers(disk, 'running');
  const opening = truth.blockers(disk, 'opening');
  // An expiry that blocks only starts: the disk may be shown either way.
  if (running.length === 0 && opening.length > 0) return;
  const reasons = running.map(({ reason }) => reason).join(', ');
  if (running.length === 0 && availability !== 'AVAILABLE') {
    log.violate('G7', `${name} is available again`, `${availability} ${unavailableReason}`);
  }
  if (running.length > 0 && availability === 'AVAILABLE') {
    log.violate('G7', `${name} is unavailable: ${reasons}`, availability);
  }
  if (availability !== 'AVAILABLE' && !opening.some(({ reason }) => reason === unavailableReason)) {
    log.violate('G10', `${name} shows why it is ${availability}: ${reasons}`, unavailableReason);
  }
};

const checkMachines = async (world: Parts['world'], truth: SimulatedTruth, log: Findings): Promise<void> => {
  const rows = await world.storeOf('compute').listRows({ table: 'vm_v3', limit: 1_000_000 });
  for (const { key, row } of rows) {
    const vm = row as unknown as Vm;
    if (vm.status !== 'active') continue;
    for (const { disk, set, keyVersion } of vm.disks) {
      const known = truth.disks.disks.get(disk);
      if (!known || (known.set === set && truth.disks.keyVersionOf(known) === keyVersion)) continue;
      const wanted = `${known.set} ${truth.disks.keyVersionOf(known)}`;
      log.violate('G7', `${key} knows under which key ${disk} is: ${wanted}`, `${set} ${keyVersion}`);
    }
  }
};
