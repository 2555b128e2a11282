import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { shortName } from '@interlock/lab/short-name';
import { encryptionUnder } from '../../cloud/make-estate.ts';
import { type Attempt, attempt, refused } from '../attempt.ts';
import { type Finding, finding, listed } from '../findings.ts';
import {
  allDisks,
  groupsOf,
  location,
  type MadeDisk,
  movedDisk,
  namesIn,
  type People,
  type Person,
  type PlannedDisk,
  vaultName,
  type World,
} from '../world.ts';

/** Small. Sectors that were never written take no space. */
const sizeGib = 1;

/** Creates a disk of the plan, under its set or the platform's key. */
export const createDisk = (world: World, { disks }: Person, { id, sku, set }: PlannedDisk): Promise<Disk> =>
  disks.createDisk({
    parent: groupsOf(world).machines,
    diskId: id,
    location,
    sku,
    sizeGib,
    encryption: encryptionOf(world, set),
  });

const encryptionOf = (world: World, set: PlannedDisk['set']) =>
  encryptionUnder(set === 'platform' ? '' : namesIn(world).set(set));

/**
 * A mark: content that only this rehearsal can have written, at a place to which no guest writes. It identifies the data
 * later, whatever happened to keys in between.
 */
export interface Mark {
  /** Full name of the disk. */
  readonly disk: string;
  readonly offset: number;
  readonly bytes: Buffer;
}

const markOffset = 64 * 1024 * 1024;
const markBytes = 64 * 1024;

/** Creates a disk of the plan, and writes a mark on it. */
const createMarked = async (world: World, user: Person, planned: PlannedDisk): Promise<Mark> => {
  const { name: disk } = await createDisk(world, user, planned);
  const line = Buffer.from(`In plain text: the content of ${planned.id}. `);
  const salt = Buffer.from(world.random.bytes(16)).toString('hex');
  const bytes = Buffer.alloc(markBytes, Buffer.concat([line, Buffer.from(`${salt}\n`)]));
  await world.dataPath.write(user, disk, markOffset, bytes);
  return { disk, offset: markOffset, bytes };
};

/** Disks under the key of the platform. One of them moves to the set later. */
export const createPlatformDisks = (world: World, { vmUser }: People): Promise<readonly Mark[]> =>
  world.timeline.step(
    { who: 'VM user', title: 'Creates disks under the key of the platform', rules: ['CMK-06', 'CMK-111'] },
    () =>
      Promise.all(
        [...allDisks.filter(({ set }) => set === 'platform'), movedDisk].map((planned) =>
          createMarked(world, vmUser, planned),
        ),
      ),
  );

/** Step 6: the VM user puts disks under the set, new ones and an existing one, without any right on the vault. */
export const createDisks = async (
  world: World,
  people: People,
  before: readonly Mark[],
): Promise<{ readonly disks: readonly MadeDisk[]; readonly marks: readonly Mark[] }> => {
  const { timeline, see } = world;
  const { vmUser } = people;
  const fresh = allDisks.filter(({ id, set }) => set !== 'platform' && id !== movedDisk.id);
  const created = timeline.step(
    {
      who: 'VM user',
      title: 'Creates disks of all five classes under the sets',
      rules: ['CMK-06', 'CMK-08', 'CMK-12'],
    },
    () => Promise.all(fresh.map((planned) => createMarked(world, vmUser, planned))),
  );
  const [marks, moved, atVault] = await Promise.all([
    created,
    moveUnderSet(world, people, before),
    tryVault(world, people),
  ]);
  const { disks } = await vmUser.disks.listDisks({ parent: groupsOf(world).machines, pageSize: 1_000 });
  const made = disks.map(({ name, uniqueId, diskHost, sku, encryption }) => ({
    name,
    id: uniqueId,
    diskHost,
    sku,
    set: encryption?.diskEncryptionSet ?? '',
  }));
  const under = made.filter(({ set }) => set === namesIn(world).set('house'));
  const classes = new Set(under.map(({ sku }) => sku));
  see(
    'CMK-06',
    'disks',
    finding(
      classes.size === 5,
      `${under.length} disks of ${classes.size} classes are under the set: ${listed([...classes])}`,
    ),
    moved,
    refused(atVault, 'ACCESS_DENIED', 'at the vault the VM user was refused: '),
  );
  return { disks: made, marks: [...before, ...marks] };
};

const moveUnderSet = (world: World, { vmUser }: People, marks: readonly Mark[]): Promise<Finding> =>
  world.timeline.step(
    { who: 'VM user', title: 'Moves a disk that was there before under the set', rules: ['CMK-06'] },
    async () => {
      const name = namesIn(world).disk(movedDisk.id);
      const before = await vmUser.disks.getDisk({ name });
      await vmUser.disks.changeDiskEncryption({ name, encryption: encryptionOf(world, 'house') });
      const after = await vmUser.disks.getDisk({ name });
      const own = marks.find(({ disk }) => disk === name);
      const isSame = own !== undefined && (await isMarkThere(world, vmUser, own));
      return finding(
        setOf(before) === '' && setOf(after) === namesIn(world).set('house') && after.keyVersion !== '' && isSame,
        `${shortName(name)} went from ${before.encryption?.type} to ${after.encryption?.type}, its content is ${isSame ? 'the same' : 'changed'}`,
      );
    },
  );

const setOf = ({ encryption }: Disk): string => encryption?.diskEncryptionSet ?? '';

/** Whether an unattached disk still has its mark. */
export const isMarkThere = async (world: World, user: Person, { disk, offset, bytes }: Mark): Promise<boolean> =>
  bytes.equals(await world.dataPath.read(user, disk, offset, bytes.length));

const tryVault = ({ timeline }: World, { vmUser }: People): Promise<readonly Attempt[]> =>
  timeline.step({ who: 'VM user', title: 'Tries to use the vault directly', rules: ['CMK-06', 'CMK-07'] }, () =>
    Promise.all([
      attempt('listing keys', () => vmUser.keyVault.listKeys({ parent: vaultName })),
      attempt('unwrapping', () =>
        vmUser.keyVault.unwrapKey({
          name: `${vaultName}/keys/house`,
          algorithm: 'RSA_OAEP_256',
          wrappedKey: Buffer.alloc(256, 1),
        }),
      ),
    ]),
  );
