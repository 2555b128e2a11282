import { names } from '@interlock/rpc';
import { assignTo } from '../actions/sets.ts';
import { folderOf } from '../cloud/deployment.ts';
import type { SimulatedHost } from '../cloud/disk-hosts.ts';
import { pickHost } from '../faults/fault.ts';
import { group, keyOf, reached, waitUntil } from './estate.ts';
import { type DataAccess, readSomething } from './io.ts';
import { attempt, type Stage } from './stage.ts';

/** Share of histories with several disk hosts at whose end one is declared lost. */
const lostShare = 0.35;
/** Longer than this phase, in milliseconds. */
const awayMs = 3_600_000;
/** How long after its end a rotation, a refused call or a start may still change something, in milliseconds. */
const calmMs = 8_000;
/** Page size: more than a history has. */
const everything = 1_000;

/** A disk host that is declared lost, and the full name of its resource. */
interface Lost {
  readonly host: SimulatedHost;
  readonly name: string;
}

/**
 * At the end of some histories a disk host is lost: its process has ended for good, or is only paused and comes back. An operator
 * declares it lost. Its disks say so, are opened by nothing and can be deleted; a rotation needs their old key until they are; nothing
 * serves its folder again (G3, G5, G6). Every other guarantee was judged before.
 */
export const loseHost = async (stage: Stage): Promise<void> => {
  const { world, disturbances } = stage;
  const random = world.random.fork('lost host');
  if (world.diskHosts.length < 2 || !random.chance(lostShare)) return;
  const host = pickHost({ world, random });
  const lost = { host, name: names.diskHost.format({ diskHost: host.name }) };
  const guest = guestOn(stage, host.name);
  // It never ends: what is there is away for good.
  disturbances.begin(...host.disturbed);
  const isPaused = random.chance(0.5);
  if (isPaused) world.faults.pause('disk', awayMs, host.replica.replica);
  else world.faults.crash('disk', host.replica.replica);
  const steps = [
    () => declare(stage, lost),
    () => checkShown(stage, lost),
    () => (isPaused ? comeBack(stage, lost, guest) : startAgain(stage, lost)),
    () => rotateKeys(stage, lost),
    () => openNothing(stage, lost),
    () => deleteAll(stage, lost),
  ];
  for (const step of steps) {
    await step();
    if (stage.log.violation) return;
  }
};

/** The access of a guest to a disk of the host. */
const guestOn = ({ world, truth }: Stage, host: string): DataAccess | undefined => {
  for (const [who, disks] of world.guests.guests)
    for (const { disk, dataAddress: address, accessToken: token } of disks)
      if (truth.disks.hostOf(disk) === host) return { disk, address, token, by: 'machine', who };
  return undefined;
};

/** The operator names the folder, and is refused while the lease of the host is held. */
const declare = async (stage: Stage, { host, name }: Lost): Promise<void> => {
  const { clients, world, log } = stage;
  const declareWith = async (folderId: string) =>
    (
      await attempt(stage, 'host.declareLost', `${name} with ${folderId}`, () =>
        clients.disks.declareDiskHostLost({ name, folderId }),
      )
    ).outcome;
  const wrong = await declareWith('another folder');
  if (wrong.kind !== 'refused') log.violate('G5', `${name} is not declared lost with another folder`, wrong.kind);
  const isLost = await reached(() =>
    waitUntil(world, 'the host is lost', async () => (await declareWith(folderOf(host.name))).kind === 'ok'),
  );
  if (!isLost) log.violate('G10', `an operator can declare ${name} lost once its lease is over`, 'that is refused');
  // The other hosts read the states of all hosts that often.
  await world.clock.sleep(world.settings.hostLeaseTtlMs / 3 + 1_000);
};

/** G10: its disks and snapshots say that their host is lost; the others do not. */
const checkShown = async ({ clients, log }: Stage, { name }: Lost): Promise<void> => {
  const { disks } = await clients.disks.listDisks({ parent: group, pageSize: everything });
  const { snapshots } = await clients.disks.listSnapshots({ parent: group, pageSize: everything });
  for (const { name: disk, diskHost, diskHostState } of [...disks, ...snapshots]) {
    const wanted = diskHost === name ? 'HOST_LOST' : 'HOST_SERVING';
    if (diskHostState !== wanted) log.violate('G10', `${disk} at ${diskHost} shows ${wanted}`, diskHostState);
  }
};

/** G5: a later process with the folder of the lost host is refused. */
const startAgain = async ({ world, log }: Stage, { host, name }: Lost): Promise<void> => {
  const refusal = await world.faults.startOnce('disk', host.replica.replica);
  if (refusal?.includes(folderOf(host.name)) !== true)
    log.violate('G5', `a process with the folder of ${name}, which is lost, is refused`, refusal ?? 'it serves');
};

/** G5: a process that was only paused serves nothing any more. */
const comeBack = async (stage: Stage, { host, name }: Lost, guest: DataAccess | undefined): Promise<void> => {
  const { world, log } = stage;
  world.faults.resume('disk', host.replica.replica);
  if (guest === undefined) return;
  await world.clock.sleep(1_000);
  // Its refusals have no disk that serves to be judged by.
  const judge = { onIo: () => undefined, onWrongContent: () => undefined, onFailure: () => undefined };
  if (await readSomething({ ...stage, judge }, guest))
    log.violate('G5', `nothing is read at ${name} after it was declared lost`, `${guest.disk} was`);
};

/** G6: the set of a disk that is there gets another version. `RotationJudge` judges that it still shows the old one. */
const rotateKeys = async (stage: Stage, { host }: Lost): Promise<void> => {
  const { truth, clients, world } = stage;
  const disk = [...truth.disks.disks.values()].find((one) => one.host === host.name && one.set !== '');
  const set = disk && truth.losses.sets.get(disk.set);
  if (!disk || !set || set.isDeleted || truth.losses.access.isGone(set.activeKey)) return;
  const request = { name: keyOf(set.activeKey), requestId: world.random.uuid() };
  const { value } = await attempt(stage, 'key.rotate', request.name, () => clients.keyVault.rotateKey(request));
  if (value) await assignTo(stage, disk.set, value.name, false);
  await world.clock.sleep(calmMs);
};

/** G5: nothing opens a disk of a lost host, and the refusal says why. */
const openNothing = async (stage: Stage, { host, name }: Lost): Promise<void> => {
  const { truth, clients, log } = stage;
  for (const disk of [...truth.disks.disks.values()]) {
    if (disk.host !== host.name || disk.isSnapshot || disk.isDeleting || disk.attachedTo !== '') continue;
    const { outcome } = await attempt(stage, 'disk.export', disk.name, () =>
      clients.disks.beginAccess({ name: disk.name, accessLevel: 'READ', durationSeconds: 60 }),
    );
    if (outcome.kind === 'refused' && outcome.reason === 'DISK_HOST_LOST') continue;
    log.violate('G10', `${disk.name} is not opened: ${name} is lost`, JSON.stringify(outcome));
    return;
  }
};

/** What was there can be deleted without it, and then the host. */
const deleteAll = async (stage: Stage, { host, name }: Lost): Promise<void> => {
  const { truth, clients, world, log } = stage;
  const { disks, compute } = clients;
  const here = () => [...truth.disks.disks.values()].filter((disk) => disk.host === host.name);
  const isGone = (look: () => boolean) => reached(() => waitUntil(world, 'it is gone', async () => look()));
  for (const vm of new Set(here().map(({ attachedTo }) => attachedTo))) {
    if (vm === '') continue;
    const machine = truth.machines.machines.get(vm);
    await attempt(stage, 'vm.deallocate', vm, () => compute.deallocateVirtualMachine({ name: vm }));
    await isGone(() => machine === undefined || machine.power === 'deallocated');
    await attempt(stage, 'vm.delete', vm, () => compute.deleteVirtualMachine({ name: vm }));
    await isGone(() => !truth.machines.machines.has(vm));
  }
  for (const { name: disk, isSnapshot, isDeleting, open } of here()) {
    if (isDeleting) continue;
    if (open) await attempt(stage, 'disk.endExport', disk, () => disks.endAccess({ name: disk }));
    const remove = () =>
      attempt(stage, isSnapshot ? 'snapshot.delete' : 'disk.delete', disk, () =>
        isSnapshot ? disks.deleteSnapshot({ name: disk }) : disks.deleteDisk({ name: disk }),
      );
    // A move of it is ended by the other hosts, in their next search for unfinished work.
    const isTaken = async (): Promise<boolean> => {
      const { outcome } = await remove();
      return outcome.kind !== 'refused' || outcome.reason !== 'DISK_MOVING';
    };
    await reached(() => waitUntil(world, 'no move is in the way', isTaken));
  }
  if (!(await isGone(() => here().length === 0))) {
    log.violate('G5', `what was on ${name}, which is lost, can be deleted`, `${here()[0]?.name} remains`);
    return;
  }
  // So are moves to it.
  const remove = () => attempt(stage, 'host.delete', host.name, () => disks.deleteDiskHost({ name }));
  const isDeleted = async (): Promise<boolean> => (await remove()).outcome.kind === 'ok';
  if (!(await reached(() => waitUntil(world, 'the host is deleted', isDeleted))))
    log.violate('G10', `${name} can be deleted: no disk names it`, 'it is refused');
};
