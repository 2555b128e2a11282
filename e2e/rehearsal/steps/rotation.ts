import { createHash } from 'node:crypto';
import { Rejection } from '@interlock/event-store';
import { attempt } from '../attempt.ts';
import type { RewrapSeen } from '../evidence/evidence.ts';
import { quietly, untilSeen } from '../evidence/observe.ts';
import type { Volume } from '../evidence/volume.ts';
import { generatedKey, type KeyInVault, type KeySet, type Keys, machines, type People, type World } from '../world.ts';
import type { Mark } from './disks.ts';
import { watchQuiet } from './machines.ts';

/** A set that disks use cannot be deleted (CMK-130). */
export const refuseDeletion = async (world: World, { administrator }: People, { name }: KeySet): Promise<void> => {
  world.evidence.setInUse = await world.timeline.step(
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
      return { deletion, stateAfterwards: provisioningState, users };
    },
  );
};

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

/** Rotates the key while every machine works. @returns the earlier content of the disks, by full name */
export const rotate = async (
  world: World,
  people: People,
  set: KeySet,
  keys: Keys,
  marks: readonly Mark[],
): Promise<ReadonlyMap<string, Before>> => {
  const { timeline, evidence, random, clock } = world;
  const { keyVault } = people.vaultAdministrator;
  const from = keys.generated.name;
  const next = await timeline.step(
    { who: 'Vault administrator', title: 'Makes a new version of the key', rules: ['CMK-80', 'CMK-83'] },
    () => keyVault.rotateKey({ name: generatedKey, requestId: random.uuid() }),
  );
  const before = await readBefore(world, set, marks);
  const areBothEnabled = async () => {
    const versions = await Promise.all([from, next.name].map((name) => keyVault.getKeyVersion({ name })));
    return versions.every(({ enabled }) => enabled);
  };
  const enabledAtStart = await quietly(areBothEnabled);
  const startedAt = clock.now();
  let endedAt = startedAt;
  let previousKeysMeanwhile: readonly string[] = [];
  const quiet = await timeline.step(
    {
      who: 'Administrator',
      title: 'Assigns the new version to the set; its disks follow while machines work',
      rules: ['CMK-15', 'CMK-16', 'CMK-80', 'CMK-82'],
    },
    () =>
      watchQuiet(world, people.vmUser, machines, async () => {
        previousKeysMeanwhile = await assignKey(people, set, next, '');
        endedAt = clock.now();
      }),
  );
  const [{ previousKeys, generation }, { resources }, enabledAtEnd] = await Promise.all([
    people.administrator.sets.getDiskEncryptionSet({ name: set.name }),
    people.administrator.sets.listAssociatedResources({ name: set.name, pageSize: 1_000 }),
    areBothEnabled(),
  ]);
  const after = await readBefore(world, set, marks);
  evidence.rotation = {
    from,
    to: next.name,
    startedAt,
    endedAt,
    previousKeysMeanwhile,
    previousKeysAfter: previousKeys.map(({ keyVersion }) => keyVersion),
    wereBothEnabled: enabledAtStart && enabledAtEnd,
    resources: resources.map(({ name, keyVersion, generation: under }) => ({ name, keyVersion, generation: under })),
    generation,
    rewraps: [...before].map(([disk, old]) => rewrapOf(disk, old, after.get(disk))),
    machines: quiet,
  };
  return before;
};

const rewrapOf = (disk: string, old: Before, now: Before | undefined): RewrapSeen => ({
  disk,
  keyVersionBefore: old.volume.header.keyVersion,
  keyVersionAfter: now?.volume.header.keyVersion ?? '',
  isWrapChanged: now !== undefined && !now.volume.header.wrapped.equals(old.volume.header.wrapped),
  isDataUntouched: now !== undefined && digest(now.ciphertext) === digest(old.ciphertext),
});

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** The present content of a set's marked disks, by full name. */
const readBefore = async (
  { files, evidence }: World,
  set: KeySet,
  marks: readonly Mark[],
): Promise<ReadonlyMap<string, Before>> => {
  const marked = (evidence.disks ?? []).flatMap(({ name, id, set: under }) => {
    const mark = marks.find(({ disk }) => disk === name);
    return mark === undefined || under !== set.name ? [] : [{ name, id, at: mark.offset, length: mark.bytes.length }];
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
  world.evidence.oldVersionDisabled = await world.timeline.step(
    {
      who: 'Vault administrator',
      title: 'Disables the old version: no effect',
      rules: ['CMK-83'],
    },
    () =>
      watchQuiet(world, people.vmUser, machines, () =>
        people.vaultAdministrator.keyVault.disableKeyVersion({ name: keys.generated.name }),
      ),
  );
};
