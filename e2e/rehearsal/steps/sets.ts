import { shortName } from '@interlock/lab/short-name';
import { each, finding } from '../findings.ts';
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

/** A set as it was created. */
interface MadeSet extends KeySet {
  readonly provisioningState: string;
  readonly wantedKeyUrl: string;
  readonly keyUrl: string;
  readonly sourceVault: string;
  readonly identity: { readonly type: string; readonly owner: string; readonly state: string };
  /** Whether the vault grants the identity anything. */
  readonly isGranted: boolean;
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
      seeSets(world, [house, lodge]);
      return { house, lodge };
    },
  );

const createSet = async (world: World, people: People, id: string, key: KeyInVault): Promise<MadeSet> => {
  const { sets, identity, keyVault } = people.administrator;
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
    isGranted: vault.accessPolicies.some((policy) => policy.principal === principal),
  };
};

const seeSets = ({ see }: World, sets: readonly MadeSet[]): void => {
  see(
    'CMK-03',
    'sets',
    each(
      sets,
      ({ keyUrl, wantedKeyUrl, sourceVault, provisioningState }) =>
        keyUrl === wantedKeyUrl && sourceVault === vaultName && provisioningState === 'SUCCEEDED',
      ({ name, keyUrl, sourceVault }) => `${shortName(name)} names ${keyUrl} of ${sourceVault}`,
    ),
  );
  const identities = new Set(sets.map(({ principal }) => principal)).size;
  see(
    'CMK-04',
    'sets',
    each(
      sets,
      ({ name, identity }) =>
        identity.type === 'MANAGED_IDENTITY' && identity.owner === name && identity.state === 'ACTIVE',
      ({ principal, identity }) =>
        `${principal} is an ${identity.state} ${identity.type} of ${shortName(identity.owner)}`,
    ),
    finding(identities === sets.length, `${sets.length} sets have ${identities} different identities`),
  );
  see(
    'CMK-05',
    'sets',
    each(
      sets,
      ({ provisioningState, isGranted }) => provisioningState === 'SUCCEEDED' && !isGranted,
      ({ name, provisioningState, isGranted }) =>
        `${shortName(name)} ${provisioningState} with ${isGranted ? 'a' : 'no'} grant in the vault`,
    ),
  );
};
