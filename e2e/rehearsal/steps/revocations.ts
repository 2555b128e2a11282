import type { Impact_Kind } from '@interlock/contracts/interlock/disk_encryption_set/v1/impact.ts';
import { type AccessOwner, causeOf, giveAccessBack } from '@interlock/lab/causes';
import { lastSegment } from '@interlock/lab/judge/journal/journal';
import { readKeyState } from '../../cloud/key-state.ts';
import { type CallEffect, serviceOwner } from '../../cloud/service-owner.ts';
import { attempt } from '../attempt.ts';
import { untilSeen } from '../evidence/observe.ts';
import type { ImpactSeen } from '../evidence/timed.ts';
import {
  groupsOf,
  type KeyInVault,
  type KeySet,
  type Keys,
  machines,
  namesIn,
  type People,
  type Person,
  spareDisk,
  vaultName,
  type World,
} from '../world.ts';
import { createDisk } from './disks.ts';
import { loseAccess } from './losing.ts';
import { deallocate, idsOf, plannedNamed, start } from './machines.ts';
import { returnToWork } from './returning.ts';
import { assignKey } from './rotation.ts';

const stopping = machines.filter(({ onLoss }) => onLoss === 'stops');
const ultra = plannedNamed(['vm-ultra']);
/** The machines that start first under the other key; the rest follows when access was removed and granted again. */
const firstBack = ['vm-hdd', 'vm-mixed'];
const untouched = machines.filter(({ onLoss }) => onLoss === 'untouched');

/** The owner of the key of a set: the vault administrator. Only the administrator sees sets and roles. */
const ownerOf = async (
  world: World,
  { administrator, vaultAdministrator }: People,
  set: string,
): Promise<AccessOwner<CallEffect>> => {
  const { identity, sets } = administrator;
  const { keyVault, tokens } = vaultAdministrator;
  const clients = { identity, sets, keyVault };
  const { activeKey } = await sets.getDiskEncryptionSet({ name: set });
  const [key = ''] = (activeKey?.keyVersion ?? '').split('/versions/');
  const state = await readKeyState(clients, { resourceGroup: groupsOf(world).keys, vault: vaultName, key, set });
  return serviceOwner(
    { clients, now: () => world.clock.now(), ownerToken: async () => tokens.token('interlock:key-vault') },
    state,
    [],
  );
};

/** Disable and enable: every observation of a lost key, with every machine. */
export const disableAndEnable = async (world: World, people: People, key: KeyInVault): Promise<void> => {
  const { timeline, evidence } = world;
  const { vaultAdministrator } = people;
  const owner = await ownerOf(world, people, namesIn(world).set('house'));
  evidence.impact = await timeline.step(
    {
      who: 'Vault administrator',
      title: 'Asks what disabling the key version would do',
      rules: ['CMK-100', 'CMK-102'],
    },
    () => predictedBy(vaultAdministrator, key.version),
  );
  evidence.disabled = await loseAccess(world, people, {
    step: {
      who: 'Vault administrator',
      title: 'Disables the key version',
      rules: ['CMK-10', 'CMK-100', 'CMK-101', 'CMK-102', 'CMK-103', 'CMK-111'],
      event: { label: 'key disabled', kind: 'loss' },
    },
    cause: 'disable-version',
    keyVersion: key.version,
    owner,
    stops: stopping,
    stay: [...ultra, ...untouched],
    tries: idsOf(stopping),
  });
  await Promise.all([refuseDataKeys(world, people), coldStart(world, people)]);
  await timeline.step(
    {
      who: 'Vault administrator',
      title: 'Enables the key version again',
      rules: ['CMK-120'],
      event: { label: 'key enabled', kind: 'return' },
    },
    async () => {
      await giveAccessBack(causeOf('disable-version'), owner);
      await untilKeyIs(people, namesIn(world).set('house'), key.version, 'AVAILABLE');
    },
  );
  evidence.enabled = await returnToWork(
    world,
    people,
    'the key version was enabled again',
    { who: 'VM user', title: 'Starts every machine again', rules: ['CMK-120', 'CMK-126', 'CMK-127'] },
    idsOf([...stopping, ...ultra]),
  );
};

/** The predicted effect on machines if the version were disabled. */
const predictedBy = async ({ sets }: Person, keyVersion: string): Promise<ImpactSeen> => {
  const target = { $case: 'keyVersion', value: keyVersion } as const;
  const { impacts } = await sets.previewImpact({ target, action: 'DISABLE', pageSize: 1_000 });
  const machinesThat = (kind: Impact_Kind): readonly string[] =>
    impacts.filter((impact) => impact.kind === kind).map(({ resource }) => lastSegment(resource));
  return {
    stops: machinesThat('VIRTUAL_MACHINE_STOPS'),
    failsAtNextStart: machinesThat('VIRTUAL_MACHINE_FAILS_AT_NEXT_START'),
  };
};

/** Waits until the set has received the vault's decision about its key. */
const untilKeyIs = (
  { administrator }: People,
  name: string,
  keyVersion: string,
  state: 'AVAILABLE' | 'LOST',
): Promise<boolean> =>
  untilSeen(`${name} knows that its key is ${state}`, async () => {
    const { keyAccess } = await administrator.sets.getDiskEncryptionSet({ name });
    return keyAccess.some((access) => access.keyVersion === keyVersion && access.state === state);
  });

/** Everything that needs a data key is refused at once and leaves nothing incomplete (CMK-110). */
const refuseDataKeys = async (world: World, { vmUser }: People): Promise<void> => {
  const names = namesIn(world);
  const { compute, disks } = vmUser;
  const late = { id: 'too-late', sku: 'PREMIUM_SSD', set: 'house' } as const;
  const spare = names.disk(spareDisk.id);
  const host = names.machine('vm-platform');
  world.evidence.refusedWhileDisabled = await world.timeline.step(
    {
      who: 'VM user',
      title: 'Wants a disk, a snapshot, an attachment and an export under the lost key',
      rules: ['CMK-110'],
    },
    async () => {
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
      return {
        attempts,
        leftovers: await Promise.all([
          attempt('reading that disk', () => disks.getDisk({ name: names.disk(late.id) })),
          attempt('reading that snapshot', () => disks.getSnapshot({ name: names.snapshot('too-late') })),
        ]),
        hostPower: machine.powerState,
        hostDataDisks: machine.dataDisks.length,
        spareState: (await disks.getDisk({ name: spare })).state,
      };
    },
  );
};

/** An ultra machine keeps what it has open, but cannot open it again (CMK-102). */
const coldStart = async (world: World, { vmUser }: People): Promise<void> => {
  const [machine] = idsOf(ultra);
  if (machine === undefined) return;
  world.evidence.ultraWhileDisabled = await world.timeline.step(
    { who: 'VM user', title: 'Deallocates the ultra machine and starts it: it fails', rules: ['CMK-102', 'CMK-106'] },
    async () => {
      await deallocate(world, vmUser, [machine]);
      const [started] = await start(world, vmUser, [machine]);
      if (started === undefined) throw new Error(`nothing was started of ${machine}`);
      const { failure } = await vmUser.compute.getVirtualMachine({ name: namesIn(world).machine(machine) });
      return {
        machine,
        powerBetween: 'DEALLOCATED',
        start: started,
        namesDisk: failure?.accessLoss?.disk === namesIn(world).disk('ultra-data'),
      };
    },
  );
};

/** Deletes the key, then restores the machines under another one, authorized by a principal who could have recovered the old one. */
export const deleteAndAssign = async (
  world: World,
  people: People,
  set: KeySet,
  key: KeyInVault,
  keys: Keys,
): Promise<void> => {
  const { timeline, evidence } = world;
  const { vaultAdministrator, vmUser } = people;
  evidence.deleted = await loseAccess(world, people, {
    step: {
      who: 'Vault administrator',
      title: 'Deletes the key',
      rules: ['CMK-10', 'CMK-100', 'CMK-101', 'CMK-102', 'CMK-103', 'CMK-111'],
      event: { label: 'key deleted', kind: 'loss' },
    },
    cause: 'delete-key',
    keyVersion: key.version,
    owner: await ownerOf(world, people, set.name),
    stops: stopping,
    stay: [...ultra, ...untouched],
    tries: ['vm-hdd'],
  });
  await timeline.step({ who: 'VM user', title: 'Deallocates the ultra machine', rules: ['CMK-126'] }, () =>
    deallocate(world, vmUser, idsOf(ultra)),
  );
  await timeline.step(
    {
      who: 'Administrator',
      title: 'Assigns the other key, authorized by the owner of the deleted one',
      rules: ['CMK-121', 'CMK-126'],
      event: { label: 'other key assigned', kind: 'return' },
    },
    async () => {
      const keyOwnerToken = await vaultAdministrator.tokens.token('interlock:key-vault');
      await assignKey(people, set, keys.imported, keyOwnerToken);
    },
  );
  evidence.assigned = await returnToWork(
    world,
    people,
    'another key was assigned',
    { who: 'VM user', title: 'Starts three of the machines again', rules: ['CMK-121', 'CMK-126', 'CMK-127'] },
    [...firstBack, ...idsOf(ultra)],
  );
};

/** Removes the grant of the set's identity, and grants it again. */
export const withdrawAndGrant = async (world: World, people: People, set: KeySet, keys: Keys): Promise<void> => {
  const { timeline, evidence } = world;
  const { vmUser } = people;
  const owner = await ownerOf(world, people, set.name);
  evidence.withdrawn = await loseAccess(world, people, {
    step: {
      who: 'Vault administrator',
      title: 'Withdraws the access of the set’s identity',
      rules: ['CMK-10', 'CMK-105', 'CMK-111'],
      event: { label: 'access withdrawn', kind: 'loss' },
    },
    cause: 'remove-policy',
    keyVersion: keys.imported.version,
    owner,
    stops: plannedNamed(firstBack),
    stay: [...ultra, ...untouched],
    tries: ['vm-mixed'],
  });
  evidence.blockedWhileWithdrawn = await timeline.step(
    { who: 'VM user', title: 'Tries to read data under the withdrawn key', rules: ['CMK-105'] },
    async () => [
      await attempt('reading through an access token', () =>
        world.dataPath.read(vmUser, namesIn(world).disk(spareDisk.id), 0, 4_096),
      ),
    ],
  );
  await timeline.step(
    {
      who: 'Vault administrator',
      title: 'Grants access again',
      rules: ['CMK-105'],
      event: { label: 'access granted', kind: 'return' },
    },
    async () => {
      await giveAccessBack(causeOf('remove-policy'), owner);
      await untilKeyIs(people, set.name, keys.imported.version, 'AVAILABLE');
    },
  );
  evidence.granted = await returnToWork(
    world,
    people,
    'access was granted again',
    { who: 'VM user', title: 'Starts the other three again', rules: ['CMK-105', 'CMK-121', 'CMK-127'] },
    idsOf(stopping).filter((id) => !firstBack.includes(id)),
  );
};
