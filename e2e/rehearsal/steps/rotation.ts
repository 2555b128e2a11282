import { Rejection } from '@interlock/event-store';
import { shortName } from '@interlock/lab/short-name';
import { attempt, refused } from '../attempt.ts';
import type { Volume } from '../files/volume.ts';
import { all, each, finding, listed, millis, shortVersion } from '../findings.ts';
import { quietly, untilSeen } from '../observe.ts';
import {
  generatedKey,
  type KeyInVault,
  type KeySet,
  type Keys,
  type MadeDisk,
  machines,
  type People,
  type Seeing,
  type World,
} from '../world.ts';
import type { Mark } from './disks.ts';
import { keptRunning, keptWorking, watch } from './machines.ts';

/** A set that disks use cannot be deleted (CMK-130). */
export const refuseDeletion = (
  { timeline, see }: World,
  { administrator }: People,
  { name }: KeySet,
  disks: readonly MadeDisk[],
): Promise<void> =>
  timeline.step(
    { who: 'Administrator', title: 'Tries to delete the set while disks use it', rules: ['CMK-130'] },
    async () => {
      let users: readonly string[] = [];
      const deletion = await attempt('deleting a set in use', async () => {
        try {
          await administrator.sets.deleteDiskEncryptionSet({ name });
        } catch (error) {
          if (error instanceof Rejection)
            users = (error.metadata.resources ?? '').split(',').map((name) => name.trim());
          throw error;
        }
      });
      const { provisioningState } = await administrator.sets.getDiskEncryptionSet({ name });
      const known = disks.map((disk) => disk.name);
      see(
        'CMK-130',
        'set in use',
        refused([deletion], 'DISK_ENCRYPTION_SET_IN_USE'),
        each(users, (user) => known.includes(user), shortName, 'the refusal names '),
        finding(provisioningState === 'SUCCEEDED', `afterwards the set is ${provisioningState}`),
      );
    },
  );

/** Assigns another key to a set and waits until everything is under it. @returns old versions that were listed in between */
export const assignKey = async (
  { administrator }: People,
  { name }: KeySet,
  key: KeyInVault,
  keyOwnerToken: string,
): Promise<readonly string[]> => {
  const meanwhile = new Set<string>();
  const { previousKeys } = await administrator.sets.assignKey({ name, keyUrl: key.keyUrl, keyOwnerToken });
  for (const { keyVersion } of previousKeys) meanwhile.add(keyVersion);
  await untilSeen(`everything of ${name} is under ${key.name}`, async () => {
    const set = await administrator.sets.getDiskEncryptionSet({ name });
    for (const { keyVersion } of set.previousKeys) meanwhile.add(keyVersion);
    return set.activeKey?.keyVersion === key.name && set.rotation?.state === 'SUCCEEDED';
  });
  return [...meanwhile];
};

/** The content of a disk before a key change: its header, and the ciphertext of its mark, which is never overwritten. */
export interface Before {
  readonly volume: Volume;
  readonly ciphertext: Buffer;
}

/** What the workflow has before the rotation. */
export interface BeforeRotation {
  readonly set: KeySet;
  readonly keys: Keys;
  readonly disks: readonly MadeDisk[];
  readonly marks: readonly Mark[];
}

/** Rotates the key while every machine works. @returns the earlier content of the disks, by full name */
export const rotate = async (
  world: World,
  people: People,
  { set, keys, disks, marks }: BeforeRotation,
): Promise<ReadonlyMap<string, Before>> => {
  const { timeline, random, clock, see } = world;
  const { keyVault } = people.vaultAdministrator;
  const from = keys.generated.name;
  const { name: to, keyUrl } = await timeline.step(
    { who: 'Vault administrator', title: 'Makes a new version of the key', rules: ['CMK-80', 'CMK-83'] },
    () => keyVault.rotateKey({ name: generatedKey, requestId: random.uuid() }),
  );
  const members = disks.filter((disk) => disk.set === set.name);
  const before = await contentOf(world, members, marks);
  const areBothEnabled = async () => {
    const versions = await Promise.all([from, to].map((name) => keyVault.getKeyVersion({ name })));
    return versions.every(({ enabled }) => enabled);
  };
  const wereEnabled = await quietly(areBothEnabled);
  const startedAt = clock.now();
  let meanwhile: readonly string[] = [];
  let tookMs = Number.NaN;
  const watched = await timeline.step(
    {
      who: 'Administrator',
      title: 'Assigns the new version to the set; its disks follow while machines work',
      rules: ['CMK-15', 'CMK-16', 'CMK-80', 'CMK-82'],
    },
    () =>
      watch(world, people.vmUser, machines, async () => {
        meanwhile = await assignKey(people, set, { name: to, keyUrl }, '');
        tookMs = clock.now() - startedAt;
      }),
  );
  const longestGapMs = Math.max(...watched.map(({ io }) => io.longestGapMs));
  see(
    'CMK-16',
    'rotation',
    keptRunning(watched),
    keptWorking(watched),
    finding(
      tookMs >= 0,
      `the rotation took ${millis(tookMs)}; longest time without a completed read or write ${millis(longestGapMs)}`,
    ),
  );
  const operations = watched.reduce((sum, { io }) => sum + io.reads + io.writes, 0);
  see(
    'CMK-82',
    'rotation',
    keptRunning(watched),
    all(
      watched,
      ({ io }) => io.reads > 0 && io.writes > 0,
      () => `${operations} reads and writes during and after`,
    ),
  );
  const areEnabled = wereEnabled && (await areBothEnabled());
  see(
    'CMK-83',
    'rotation',
    finding(areEnabled, `both versions ${areEnabled ? 'were' : 'were not'} enabled throughout`),
  );
  await seeMoved(world, people, set, { from, to, meanwhile, members });
  seeRewraps(world, { from, to }, before, await contentOf(world, members, marks));
  return before;
};

/** What the set lists after a rotation. */
const seeMoved = async (
  { see }: World,
  { administrator }: People,
  { name }: KeySet,
  moved: {
    readonly from: string;
    readonly to: string;
    /** Old versions that the set listed while it moved. */
    readonly meanwhile: readonly string[];
    readonly members: readonly MadeDisk[];
  },
): Promise<void> => {
  const { from, to, meanwhile, members } = moved;
  const [{ previousKeys, generation }, { resources }] = await Promise.all([
    administrator.sets.getDiskEncryptionSet({ name }),
    administrator.sets.listAssociatedResources({ name, pageSize: 1_000 }),
  ]);
  const isUnderNew = (disk: string): boolean =>
    resources.some((one) => one.name === disk && one.keyVersion === to && one.generation === generation);
  see(
    'CMK-03',
    'rotation',
    finding(
      resources.length > 1 && resources.length === members.length,
      `${resources.length} disks are listed under the set, ${members.length} disks name it`,
    ),
  );
  see(
    'CMK-80',
    'rotation',
    finding(from !== to, `from ${shortVersion(from)} to ${shortVersion(to)}`),
    all(
      members.map((disk) => disk.name),
      isUnderNew,
      (some) => `${some.length} disks listed under the new version: ${listed(some.map(shortName), 4)}`,
    ),
  );
  const after = previousKeys.map(({ keyVersion }) => keyVersion);
  see(
    'CMK-83',
    'rotation',
    finding(
      meanwhile.includes(from) && after.length === 0,
      `the set listed ${listed(meanwhile.map(shortVersion))} while it moved, and ${listed(after.map(shortVersion))} afterwards`,
    ),
  );
};

/** What a rotation did to the files of the disks. */
export const seeRewraps = (
  { see }: Seeing,
  { from, to }: { readonly from: string; readonly to: string },
  before: ReadonlyMap<string, Before>,
  after: ReadonlyMap<string, Before>,
): void => {
  const rewraps = [...before].map(([disk, old]) => {
    const now = after.get(disk);
    return {
      disk,
      isOfOld: old.volume.header.keyVersion === from,
      keyVersion: now?.volume.header.keyVersion ?? '',
      isWrapNew: now !== undefined && !now.volume.header.wrapped.equals(old.volume.header.wrapped),
      // A range without writes must have the very same ciphertext.
      isDataSame: now?.ciphertext.equals(old.ciphertext) === true,
    };
  });
  see(
    'CMK-15',
    'rotation',
    each(
      rewraps,
      ({ isWrapNew, isDataSame }) => isWrapNew && isDataSame,
      ({ disk, isWrapNew, isDataSame }) =>
        `${shortName(disk)}: wrap ${isWrapNew ? 'new' : 'unchanged'}, ciphertext ${isDataSame ? 'the same' : 'changed'}`,
    ),
  );
  see(
    'CMK-80',
    'rotation',
    all(
      rewraps,
      ({ isOfOld, keyVersion }) => isOfOld && keyVersion === to,
      (some) =>
        `${some.length} headers on disk name ${listed([...new Set(some.map(({ keyVersion }) => shortVersion(keyVersion)))])}`,
    ),
  );
};

/** The present content of marked disks, by full name. */
const contentOf = async (
  { files }: World,
  disks: readonly MadeDisk[],
  marks: readonly Mark[],
): Promise<ReadonlyMap<string, Before>> => {
  const marked = disks.flatMap(({ name, id }) => {
    const mark = marks.find(({ disk }) => disk === name);
    return mark === undefined ? [] : [{ name, id, at: mark.offset, length: mark.bytes.length }];
  });
  const volumes = await files.volumes(marked.map(({ id, at, length }) => ({ id, ranges: [{ offset: at, length }] })));
  return new Map(
    marked.flatMap(({ name, id, at, length }): [string, Before][] => {
      const volume = volumes.get(id);
      return volume === undefined ? [] : [[name, { volume, ciphertext: volume.raw(at, length) }]];
    }),
  );
};

/** Once everything has moved, the old version can be disabled without any effect (CMK-83). */
export const disableOldVersion = async (world: World, people: People, keys: Keys): Promise<void> => {
  const { timeline, see } = world;
  const watched = await timeline.step(
    { who: 'Vault administrator', title: 'Disables the old version: no effect', rules: ['CMK-83'] },
    () =>
      watch(world, people.vmUser, machines, () =>
        people.vaultAdministrator.keyVault.disableKeyVersion({ name: keys.generated.name }),
      ),
  );
  see('CMK-83', 'old version', keptRunning(watched), keptWorking(watched, 'with the old version disabled: '));
};
