import { shortName } from '@interlock/lab/short-name';
import { finding } from '../findings.ts';
import { untilSeen } from '../observe.ts';
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
export const createSets = (world: World, people: People, keys: Keys): Promise<KeySets> =>
  world.timeline.step(
    {
      who: 'Administrator',
      title: 'Creates two disk encryption sets, each with an identity',
      rules: ['CMK-03', 'CMK-04', 'CMK-05'],
    },
    async () => {
      const [house, lodge] = await Promise.all([
        createSet(world, people, 'house', keys.generated),
        createSet(world, people, 'lodge', keys.imported),
      ]);
      world.see(
        'CMK-04',
        'sets',
        finding(house.principal !== lodge.principal, 'the two sets have identities of their own'),
      );
      return { house, lodge };
    },
  );

const createSet = async (world: World, people: People, id: string, { keyUrl }: KeyInVault): Promise<KeySet> => {
  const { see } = world;
  const { sets, identity, keyVault } = people.administrator;
  const name = namesIn(world).set(id);
  await sets.createDiskEncryptionSet({
    parent: groupsOf(world).machines,
    diskEncryptionSetId: id,
    location,
    keyUrl,
    sourceVault: vaultName,
  });
  const { activeKey, ...set } = await untilSeen(`${id} is made`, async () => {
    const found = await sets.getDiskEncryptionSet({ name });
    return found.provisioningState === 'SUCCEEDED' && found;
  });
  const principal = set.identity?.principal ?? '';
  const [{ type, owner, state }, vault] = await Promise.all([
    identity.getPrincipal({ name: principal }),
    keyVault.getVault({ name: vaultName }),
  ]);
  see(
    'CMK-03',
    'sets',
    finding(
      activeKey?.keyUrl === keyUrl && activeKey.sourceVault === vaultName,
      `${id} names ${activeKey?.keyUrl} of ${activeKey?.sourceVault}`,
    ),
  );
  see(
    'CMK-04',
    'sets',
    finding(
      type === 'MANAGED_IDENTITY' && owner === name && state === 'ACTIVE',
      `${principal} is an ${state} ${type} of ${shortName(owner)}`,
    ),
  );
  const isGranted = vault.accessPolicies.some((policy) => policy.principal === principal);
  see(
    'CMK-05',
    'sets',
    finding(!isGranted, `${id} ${set.provisioningState} with ${isGranted ? 'a' : 'no'} grant in the vault`),
  );
  return { name, principal };
};
