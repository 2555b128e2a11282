import { setPermissionsOnWire } from '@interlock/access/permissions';
import type { AccessPolicy_KeyPermission } from '@interlock/contracts/interlock/key_vault/v1/vault.ts';
import { type Attempt, attempt, done, refused } from '../attempt.ts';
import { finding } from '../findings.ts';
import { type KeySet, namesIn, type People, spareDisk, vaultName, type World } from '../world.ts';
import { createDisk } from './disks.ts';
import type { KeySets } from './sets.ts';

/** Lets the identity of a set use the vault's keys with those permissions. */
export const grant = (
  { vaultAdministrator }: People,
  { principal }: KeySet,
  keyPermissions: readonly AccessPolicy_KeyPermission[] = setPermissionsOnWire,
) =>
  vaultAdministrator.keyVault.setAccessPolicy({
    name: vaultName,
    accessPolicy: { principal, keyPermissions: [...keyPermissions] },
  });

/** Step 5: without the grant no disk, with two of three permissions no disk, with all three a disk. */
export const grantAccess = async (world: World, people: People, { house, lodge }: KeySets): Promise<void> => {
  const { timeline, see } = world;
  const { vmUser } = people;
  const tryDisk = (what: string) => attempt(what, () => createDisk(world, vmUser, spareDisk));
  await timeline.step(
    { who: 'VM user', title: 'Wants a disk before the set has its grant', rules: ['CMK-05', 'CMK-110'] },
    async () => {
      const firstDisk = await tryDisk('the first disk, without a grant');
      const name = namesIn(world).disk(spareDisk.id);
      const afterwards = await attempt('reading that disk', () => vmUser.disks.getDisk({ name }));
      see('CMK-05', 'grants', refused([firstDisk], 'ACCESS_DENIED'), refused([afterwards], 'DISK_NOT_FOUND'));
    },
  );
  await timeline.step(
    {
      who: 'Vault administrator',
      title: 'Grants two of get, wrapKey and unwrapKey at a time, then all three',
      rules: ['CMK-05', 'CMK-25'],
    },
    async () => {
      const incomplete: Attempt[] = [];
      for (const missing of setPermissionsOnWire) {
        const granted = setPermissionsOnWire.filter((permission) => permission !== missing);
        await grant(people, house, granted);
        incomplete.push(await tryDisk(`with ${granted.join(' and ')} only`));
      }
      await Promise.all([grant(people, house), grant(people, lodge)]);
      const complete = await tryDisk('the same disk with all three');
      see('CMK-05', 'grants', done(complete));
      see(
        'CMK-25',
        'grants',
        finding(incomplete.length === 3, `${incomplete.length} of 3 pairs were tried`),
        refused(incomplete, 'ACCESS_DENIED'),
        done(complete),
      );
    },
  );
};
