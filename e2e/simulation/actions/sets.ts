import { keyOf, ownerToken, plannedSets, setName } from '../workload/estate.ts';
import { attempt, type Stage } from '../workload/stage.ts';
import type { Action } from './action.ts';

/** Versioned URL of a key version, as its vault writes it. */
export const keyUrlOf = (keyVersion: string): string => {
  const [, vault, , key, , version] = keyVersion.split('/');
  return `https://${vault}.vault.simulation/keys/${key}/${version}`;
};

const assignKey: Action = {
  name: 'set.assignKey',
  weight: 3,
  async run(stage) {
    const set = setName(stage.random.pick(plannedSets).id);
    await assignAny(stage, set);
    // A second thought, while disks are still moving.
    if (stage.random.chance(0.4)) await assignAny(stage, set);
  },
};

const assignAny = async (stage: Stage, set: string): Promise<void> => {
  const { random, truth } = stage;
  const known = truth.losses.sets.get(set);
  const versions = truth.losses.access.keyVersions();
  if (!known || versions.length === 0) return;
  // Mostly another version of its own key, sometimes one of another key, on which it may have no grant.
  const own = versions.filter((one) => keyOf(one) === keyOf(known.activeKey));
  const keyVersion = random.pick(own.length > 0 && random.chance(0.8) ? own : versions);
  await assignTo(stage, set, keyVersion, random.chance(0.4));
};

/** Gives a set another key. @param withWord whether the owner of the old key authorizes it, in case that key is unusable */
export const assignTo = (stage: Stage, name: string, keyVersion: string, withWord: boolean): Promise<unknown> =>
  attempt(stage, 'set.assignKey', `${keyVersion} to ${name}${withWord ? ' with its owner’s word' : ''}`, async () =>
    stage.clients.sets.assignKey({
      name,
      keyUrl: keyUrlOf(keyVersion),
      ...(withWord ? { keyOwnerToken: await ownerToken(stage.world) } : {}),
    }),
  );

const resumeRotation: Action = {
  name: 'set.resumeRotation',
  weight: 1,
  async run(stage) {
    const { random } = stage;
    await resume(stage, setName(random.pick(plannedSets).id), random.chance(0.5));
  },
};

/** Resumes a rotation that waits. @param withWord whether the owner of the old key authorizes it */
export const resume = (stage: Stage, name: string, withWord: boolean): Promise<unknown> =>
  attempt(stage, 'set.resumeRotation', `${name}${withWord ? ' with its owner’s word' : ''}`, async () =>
    stage.clients.sets.resumeRotation({
      name,
      ...(withWord ? { keyOwnerToken: await ownerToken(stage.world) } : {}),
    }),
  );

const changeOptions: Action = {
  name: 'set.update',
  weight: 1,
  async run(stage) {
    const { random, clients } = stage;
    const name = setName(random.pick(plannedSets).id);
    const autoKeyRotationEnabled = random.chance(0.5);
    await attempt(stage, 'set.update', `${name} automatic rotation ${autoKeyRotationEnabled ? 'on' : 'off'}`, () =>
      clients.sets.updateDiskEncryptionSet({ name, autoKeyRotationEnabled }),
    );
  },
};

/** What users do with sets. */
export const setActions: readonly Action[] = [assignKey, resumeRotation, changeOptions];
