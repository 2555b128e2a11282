import type { Impact_Kind } from '@interlock/contracts/interlock/disk_encryption_set/v1/impact.ts';
import { shortName } from '@interlock/lab/short-name';
import { attempt } from '../attempt.ts';
import type { ImpactSeen, ReturnSeen } from '../evidence/evidence.ts';
import { historyOf, readFleet, untilAtWork, untilFleet, untilSeen } from '../evidence/observe.ts';
import {
  groupsOf,
  type KeySet,
  type Keys,
  machines,
  namesIn,
  type People,
  type Person,
  spareDisk,
  type World,
} from '../world.ts';
import { createDisk } from './disks.ts';
import { deallocate, idsOf, plannedNamed, start } from './machines.ts';
import { assignKey } from './rotation.ts';

const stopping = machines.filter(({ onLoss }) => onLoss === 'stops');
const ultra = 'vm-ultra';

/**
 * Deletes the key and tries everything that needs it; then restores the machines under the other key, authorized by a principal who
 * could have recovered the old one.
 */
export const deleteAndAssign = async (world: World, people: People, set: KeySet, keys: Keys): Promise<void> => {
  const { timeline, evidence } = world;
  const { vaultAdministrator, vmUser } = people;
  const [key = ''] = keys.generated.name.split('/versions/');
  evidence.impact = await timeline.step(
    { who: 'Vault administrator', title: 'Asks what deleting the key would do', rules: ['CMK-100', 'CMK-102'] },
    () => predictedBy(vaultAdministrator, key),
  );
  await timeline.step(
    { who: 'Vault administrator', title: 'Deletes the key', rules: ['CMK-10', 'CMK-100', 'CMK-102'] },
    async () => {
      await vaultAdministrator.keyVault.deleteKey({ name: key, confirmName: key });
      await untilFleet(world, vmUser, 'stopped', idsOf(stopping), ({ powerState }) => powerState === 'STOPPED');
    },
  );
  const fleet = await readFleet(world, vmUser);
  evidence.deleted = machines.map(({ id, onLoss }) => {
    const { powerState = '', stopReason } = fleet.get(id) ?? {};
    return { name: id, onLoss, power: powerState, reason: stopReason?.reason ?? '' };
  });
  await Promise.all([refuseDataKeys(world, vmUser), coldStart(world, vmUser)]);
  await timeline.step(
    {
      who: 'Administrator',
      title: 'Assigns the other key, authorized by the owner of the deleted one',
      rules: ['CMK-121', 'CMK-126'],
    },
    async () => {
      const keyOwnerToken = await vaultAdministrator.tokens.token('interlock:key-vault');
      await assignKey(people, set, keys.imported, keyOwnerToken);
    },
  );
  evidence.assigned = await returnToWork(world, vmUser, [...idsOf(stopping), ultra]);
};

/** The predicted effect on machines if the key were deleted. */
const predictedBy = async ({ sets }: Person, key: string): Promise<ImpactSeen> => {
  const target = { $case: 'key', value: key } as const;
  const { impacts } = await sets.previewImpact({ target, action: 'DELETE', pageSize: 1_000 });
  const machinesThat = (kind: Impact_Kind): readonly string[] =>
    impacts.filter((impact) => impact.kind === kind).map(({ resource }) => shortName(resource));
  return {
    stops: machinesThat('VIRTUAL_MACHINE_STOPS'),
    failsAtNextStart: machinesThat('VIRTUAL_MACHINE_FAILS_AT_NEXT_START'),
  };
};

/** Everything that needs a data key is refused at once and leaves nothing incomplete (CMK-110). */
const refuseDataKeys = (world: World, vmUser: Person): Promise<void> => {
  const names = namesIn(world);
  const { compute, disks } = vmUser;
  const late = { id: 'too-late', sku: 'PREMIUM_SSD', set: 'house' } as const;
  const spare = names.disk(spareDisk.id);
  const host = names.machine('vm-platform');
  const title = 'Wants a disk, a snapshot, an attachment and an export under the lost key';
  return world.timeline.step({ who: 'VM user', title, rules: ['CMK-110'] }, async () => {
    const attempts = await Promise.all([
      attempt('creating a disk', () => createDisk(world, vmUser, late)),
      attempt('taking a snapshot', () =>
        disks.createSnapshot({
          parent: groupsOf(world).machines,
          snapshotId: 'too-late',
          sourceDisk: names.disk('hdd-os'),
        }),
      ),
      attempt('reading through an access token', () => world.dataPath.read(vmUser, spare, 0, 4_096)),
    ]);
    // After the read, because a disk that is being attached refuses others for that reason.
    attempts.push(
      await attempt('attaching to a running machine', () => compute.attachDisk({ name: host, lun: 7, disk: spare })),
    );
    const machine = await untilSeen('the attachment has ended', async () => {
      const found = await compute.getVirtualMachine({ name: host });
      return found.provisioningState !== 'UPDATING' && found;
    });
    world.evidence.refusedWhileDeleted = {
      attempts,
      leftovers: await Promise.all([
        attempt('reading that disk', () => disks.getDisk({ name: names.disk(late.id) })),
        attempt('reading that snapshot', () => disks.getSnapshot({ name: names.snapshot('too-late') })),
      ]),
      hostPower: machine.powerState,
      hostDataDisks: machine.dataDisks.length,
      spareState: (await disks.getDisk({ name: spare })).state,
    };
  });
};

/** An ultra machine keeps what it has open, but cannot open it again (CMK-102). */
const coldStart = (world: World, vmUser: Person): Promise<void> =>
  world.timeline.step(
    { who: 'VM user', title: 'Deallocates the ultra machine and starts it: it fails', rules: ['CMK-102', 'CMK-106'] },
    async () => {
      await deallocate(world, vmUser, [ultra]);
      const [started] = await start(world, vmUser, [ultra]);
      if (started === undefined) throw new Error(`nothing was started of ${ultra}`);
      const { failure } = await vmUser.compute.getVirtualMachine({ name: namesIn(world).machine(ultra) });
      const namesDisk = failure?.accessLoss?.disk === namesIn(world).disk('ultra-data');
      world.evidence.ultraWhileDeleted = { machine: ultra, start: started, namesDisk };
    },
  );

/** Starts machines whose key is usable again and waits until their guests have found all that they wrote, and work again. */
const returnToWork = (world: World, vmUser: Person, ids: readonly string[]): Promise<ReturnSeen> => {
  const fromMs = world.clock.now();
  return world.timeline.step(
    { who: 'VM user', title: 'Starts every machine again', rules: ['CMK-121', 'CMK-126', 'CMK-127'] },
    async () => {
      const starts = await start(world, vmUser, ids);
      const running = starts.filter(({ outcome }) => outcome === 'running').map(({ machine }) => machine);
      const io = await untilAtWork(world, plannedNamed(running), fromMs);
      const history = await world.history();
      const checks = running.flatMap((id) =>
        historyOf(history, id).filter(({ op, invokedAt }) => op === 'verify' && invokedAt >= fromMs),
      );
      return {
        starts,
        io,
        verified: checks.filter(({ ok }) => ok).length,
        mismatched: checks.filter(({ reason }) => reason === 'CONTENT_MISMATCH').length,
      };
    },
  );
};
