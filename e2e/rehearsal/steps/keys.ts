import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import type { KeyVersion } from '@interlock/contracts/interlock/key_vault/v1/key_version.ts';
import { attempt, refused } from '../attempt.ts';
import { type Finding, finding, shortVersion } from '../findings.ts';
import {
  generatedKey,
  groupsOf,
  importedKeyId,
  type Keys,
  location,
  type People,
  type Person,
  vaultId,
  vaultName,
  type World,
} from '../world.ts';

/** Private keys that their owner keeps outside the cloud, in PEM. */
export interface HomeMadeKeys {
  readonly rsa3072: string;
  readonly rsa1024: string;
  readonly p256: string;
}

const generate = promisify(generateKeyPair);
const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

/** Makes them in separate threads, because it takes a second. */
export const makeKeysAtHome = async (): Promise<HomeMadeKeys> => {
  const [rsa3072, rsa1024, p256] = await Promise.all([
    generate('rsa', { modulusLength: 3072 }),
    generate('rsa', { modulusLength: 1024 }),
    generate('ec', { namedCurve: 'P-256' }),
  ]);
  return { rsa3072: pem(rsa3072.privateKey), rsa1024: pem(rsa1024.privateKey), p256: pem(p256.privateKey) };
};

/** Steps 1 and 2 of the workflow: a vault, a key created in it, an imported key. */
export const fillVault = async (world: World, people: People, ownKeys: Promise<HomeMadeKeys>): Promise<Keys> => {
  await createVault(world, people);
  const [generated, imported] = await Promise.all([
    generateKeyInVault(world, people),
    importOwnKey(world, people, ownKeys),
    tryWrongKeys(world, people, ownKeys),
  ]);
  return { generated, imported };
};

const createVault = (
  { timeline, cloud, see }: World,
  { vaultAdministrator: { keyVault, principal } }: People,
): Promise<void> =>
  timeline.step(
    { who: 'Vault administrator', title: 'Creates a purge-protected vault', rules: ['CMK-01'] },
    async () => {
      await keyVault.createVault({
        vaultId,
        resourceGroup: groupsOf({ cloud }).keys,
        location,
        sku: 'STANDARD',
        permissionModel: 'ACCESS_POLICY',
        accessPolicies: [{ principal, keyPermissions: ['ALL'] }],
        softDeleteRetentionDays: 90,
        purgeProtectionEnabled: true,
      });
      const { name, state, ...vault } = await keyVault.getVault({ name: vaultName });
      const { purgeProtectionEnabled, softDeleteRetentionDays } = vault;
      see(
        'CMK-01',
        'vault',
        finding(
          state === 'ACTIVE' && purgeProtectionEnabled && softDeleteRetentionDays >= 7,
          `${name} is ${state}, purge protection ${purgeProtectionEnabled ? 'on' : 'off'}, deleted keys kept ${softDeleteRetentionDays} days`,
        ),
      );
    },
  );

const generateKeyInVault = (
  { timeline, random, see }: World,
  { vaultAdministrator: { keyVault } }: People,
): Promise<KeyVersion> =>
  timeline.step(
    { who: 'Vault administrator', title: 'Has the vault make an RSA key of 2,048 bits', rules: ['CMK-02'] },
    async () => {
      const keyId = generatedKey.slice(generatedKey.lastIndexOf('/') + 1);
      await keyVault.createKey({ parent: vaultName, keyId, keySizeBits: 2048, requestId: random.uuid() });
      const made = await keyVault.getKeyVersion({ name: generatedKey });
      see('CMK-02', 'keys', is(made, 'GENERATED', 2048));
      return made;
    },
  );

/** `house/0123… is GENERATED, 2048 bits` */
const is = ({ name, origin, keySizeBits }: KeyVersion, wanted: KeyVersion['origin'], bits: number): Finding =>
  finding(origin === wanted && keySizeBits === bits, `${shortVersion(name)} is ${origin}, ${keySizeBits} bits`);

const importPem = ({ random }: World, { keyVault }: Person, keyId: string, text: string) =>
  keyVault.importKey({
    parent: vaultName,
    keyId,
    keyMaterial: { $case: 'pem', value: text },
    requestId: random.uuid(),
  });

const importOwnKey = (
  world: World,
  { vaultAdministrator }: People,
  ownKeys: Promise<HomeMadeKeys>,
): Promise<Keys['imported']> =>
  world.timeline.step(
    { who: 'Vault administrator', title: 'Brings an RSA key of 3,072 bits', rules: ['CMK-02'] },
    async () => {
      const { see } = world;
      const { rsa3072 } = await ownKeys;
      const privateKey = createPrivateKey(rsa3072);
      await importPem(world, vaultAdministrator, importedKeyId, rsa3072);
      const name = `${vaultName}/keys/${importedKeyId}`;
      const version = await vaultAdministrator.keyVault.getKeyVersion({ name });
      const isOwn = createPublicKey(privateKey).export({ format: 'jwk' }).n === version.publicKey?.n;
      const modulus = finding(isOwn, `its modulus is ${isOwn ? '' : 'not '}that of the key brought`);
      see('CMK-02', 'keys', is(version, 'IMPORTED', 3072), modulus);
      return { ...version, privateKey };
    },
  );

const tryWrongKeys = (world: World, { vaultAdministrator }: People, ownKeys: Promise<HomeMadeKeys>): Promise<void> =>
  world.timeline.step(
    {
      who: 'Vault administrator',
      title: 'Tries to bring an elliptic-curve key and a 1,024-bit one',
      rules: ['CMK-20'],
    },
    async () => {
      const { random, see } = world;
      const { p256, rsa1024 } = await ownKeys;
      const requestId = random.uuid();
      const attempts = await Promise.all([
        attempt('import of a P-256 key', () => importPem(world, vaultAdministrator, 'curve', p256)),
        attempt('import of a 1,024-bit RSA key', () => importPem(world, vaultAdministrator, 'small', rsa1024)),
        attempt('making a 1,024-bit RSA key', () =>
          vaultAdministrator.keyVault.createKey({ parent: vaultName, keyId: 'tiny', keySizeBits: 1024, requestId }),
        ),
      ]);
      const [curve, ...small] = attempts;
      see('CMK-20', 'keys', refused([curve], 'NOT_AN_RSA_KEY'), refused(small, 'KEY_SIZE_UNSUPPORTED'));
    },
  );
