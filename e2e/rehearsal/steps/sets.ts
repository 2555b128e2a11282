import { untilSeen } from '../evidence/observe.ts';
import {
  groupsOf,
  type KeyInVault,
  type KeySet,
  type Keys,
  location,
  namesIn,
  type People,
  vaultName,
  type World,
} from '../world.ts';

/** The two sets: `house` under the key created in the vault, `lodge` under the imported one. */
export interface KeySets {
  readonly house: KeySet;
  readonly lodge: KeySet;
}

/** Steps 3 and 4: sets, each with its own identity, without any grant yet. */
export const createSets = async (world: World, people: People, keys: Keys): Promise<KeySets> => {
  const { timeline, evidence } = world;
  const { sets, identity, keyVault } = people.administrator;
  const create = async (id: string, key: KeyInVault) => {
    const name = namesIn(world).set(id);
    await sets.createDiskEncryptionSet({
      parent: groupsOf(world).machines,
      diskEncryptionSetId: id,
      location,
      keyUrl: key.keyUrl,
      sourceVault: vaultName,
    });
    const set = await untilSeen(`${id} is made`, async () => {
      const found = await sets.getDiskEncryptionSet({ name });
      return found.provisioningState === 'SUCCEEDED' && found;
    });
    const principal = set.identity?.principal ?? '';
    const [owner, vault] = await Promise.all([
      identity.getPrincipal({ name: principal }),
      keyVault.getVault({ name: vaultName }),
    ]);
    return {
      name,
      provisioningState: set.provisioningState,
      wantedKeyUrl: key.keyUrl,
      keyUrl: set.activeKey?.keyUrl ?? '',
      sourceVault: set.activeKey?.sourceVault ?? '',
      principal,
      identity: { type: owner.type, owner: owner.owner, state: owner.state },
      isGrantedAtCreation: vault.accessPolicies.some((policy) => policy.principal === principal),
    };
  };
  return timeline.step(
    {
      who: 'Administrator',
      title: 'Creates two disk encryption sets, each with an identity',
      rules: ['CMK-03', 'CMK-04', 'CMK-05'],
    },
    async () => {
      const [house, lodge] = await Promise.all([create('house', keys.generated), create('lodge', keys.imported)]);
      evidence.sets = [house, lodge];
      return { house, lodge };
    },
  );
};
