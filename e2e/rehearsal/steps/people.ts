import type { People, Person, World } from '../world.ts';
import { groupsOf } from '../world.ts';

/** The administrator creates two users: one for the vault, one for machines. Neither has rights on the other's resources. */
export const admitPeople = async (world: World): Promise<People> => {
  const { timeline, outside, cloud, random } = world;
  const administrator: Person = {
    ...outside.administrator,
    principal: `principals/${cloud.administrator.principalId}`,
  };
  const { identity } = administrator;
  const admit = async (displayName: string, role: string, scope: string): Promise<Person> => {
    const id = random.uuid();
    const { tenant } = cloud.administrator;
    const { name } = await identity.createPrincipal({ principalId: id, tenant, type: 'USER', displayName });
    const [{ secretText }] = await Promise.all([
      identity.addSecret({ principal: name, secretId: 'rehearsal' }),
      identity.createRoleAssignment({ roleAssignmentId: random.uuid(), principal: name, role, scope }),
    ]);
    return { ...outside.as({ id, secret: secretText }), principal: name };
  };
  const groups = groupsOf(world);
  return timeline.step(
    { who: 'Administrator', title: 'Admits a vault administrator and a VM user', rules: ['CMK-01', 'CMK-06'] },
    async () => {
      const [vaultAdministrator, vmUser] = await Promise.all([
        admit('Vault administrator', 'roles/keyVaultAdministrator', groups.keys),
        admit('VM user', 'roles/contributor', groups.machines),
      ]);
      return { administrator, vaultAdministrator, vmUser };
    },
  );
};
