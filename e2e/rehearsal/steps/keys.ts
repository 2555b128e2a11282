import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import type { KeyVersion } from '@interlock/contracts/interlock/key_vault/v1/key_version.ts';
import { attempt } from '../attempt.ts';
import type { KeySeen } from '../evidence/evidence.ts';
import {
  generatedKey,
  groupsOf,
  importedKeyId,
  type Keys,
  location,
  type People,
  vaultId,
  vaultName,
  type World,
} from '../world.ts';

/** Private keys as their owner has them at home, in PEM. */
export interface HomeMadeKeys {
  readonly rsa3072: string;
  readonly rsa1024: string;
  readonly p256: string;
}

const generate = promisify(generateKeyPair);
const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

/** Makes them, in threads of their own: it takes a second, while other things begin. */
export const makeKeysAtHome = async (): Promise<HomeMadeKeys> => {
  const [rsa3072, rsa1024, p256] = await Promise.all([
    generate('rsa', { modulusLength: 3072 }),
    generate('rsa', { modulusLength: 1024 }),
    generate('ec', { namedCurve: 'P-256' }),
  ]);
  return { rsa3072: pem(rsa3072.privateKey), rsa1024: pem(rsa1024.privateKey), p256: pem(p256.privateKey) };
};

/** Steps 1 and 2 of the workflow: a vault, a key made in it, a key brought along. */
export const fillVault = async (
  world: World,
  { vaultAdministrator }: People,
  atHome: Promise<HomeMadeKeys>,
): Promise<Keys> => {
  const { timeline, evidence, random } = world;
  const { keyVault, principal } = vaultAdministrator;
  await timeline.step(
    { who: 'Vault administrator', title: 'Creates a purge-protected vault', rules: ['CMK-01'] },
    async () => {
      await keyVault.createVault({
        vaultId,
        resourceGroup: groupsOf(world).keys,
        location,
        sku: 'STANDARD',
        permissionModel: 'ACCESS_POLICY',
        accessPolicies: [{ principal, keyPermissions: ['ALL'] }],
        softDeleteRetentionDays: 90,
        purgeProtectionEnabled: true,
      });
      const vault = await keyVault.getVault({ name: vaultName });
      evidence.vault = {
        name: vault.name,
        state: vault.state,
        purgeProtected: vault.purgeProtectionEnabled,
        retentionDays: vault.softDeleteRetentionDays,
      };
    },
  );

  const bring = (keyId: string, text: string) =>
    keyVault.importKey({
      parent: vaultName,
      keyId,
      keyMaterial: { $case: 'pem', value: text },
      requestId: random.uuid(),
    });
  const generated = timeline.step(
    { who: 'Vault administrator', title: 'Has the vault make an RSA key of 2,048 bits', rules: ['CMK-02'] },
    async () => {
      const keyId = generatedKey.slice(generatedKey.lastIndexOf('/') + 1);
      await keyVault.createKey({ parent: vaultName, keyId, keySizeBits: 2048, requestId: random.uuid() });
      return keyVault.getKeyVersion({ name: generatedKey });
    },
  );
  const imported = timeline.step(
    { who: 'Vault administrator', title: 'Brings an RSA key of 3,072 bits', rules: ['CMK-02'] },
    async () => {
      const { rsa3072 } = await atHome;
      const privateKey = createPrivateKey(rsa3072);
      await bring(importedKeyId, rsa3072);
      const version = await keyVault.getKeyVersion({ name: `${vaultName}/keys/${importedKeyId}` });
      const isOwnMaterial = createPublicKey(privateKey).export({ format: 'jwk' }).n === version.publicKey?.n;
      return { version, privateKey, isOwnMaterial };
    },
  );
  const refused = timeline.step(
    {
      who: 'Vault administrator',
      title: 'Tries to bring an elliptic-curve key and a 1,024-bit one',
      rules: ['CMK-20'],
    },
    async () => {
      const { p256, rsa1024 } = await atHome;
      return Promise.all([
        attempt('import of a P-256 key', () => bring('curve', p256)),
        attempt('import of a 1,024-bit RSA key', () => bring('small', rsa1024)),
        attempt('making a 1,024-bit RSA key', () =>
          keyVault.createKey({ parent: vaultName, keyId: 'tiny', keySizeBits: 1024, requestId: random.uuid() }),
        ),
      ]);
    },
  );
  const [made, brought, refusals] = await Promise.all([generated, imported, refused]);
  evidence.keys = {
    generated: keySeen(made),
    imported: keySeen(brought.version),
    isOwnMaterial: brought.isOwnMaterial,
    refused: refusals,
  };
  return {
    generated: { version: made.name, url: made.keyUrl },
    imported: { version: brought.version.name, url: brought.version.keyUrl, privateKey: brought.privateKey },
  };
};

const keySeen = ({ name, keyUrl, origin, keySizeBits }: KeyVersion): KeySeen => ({
  version: name,
  url: keyUrl,
  origin,
  bits: keySizeBits,
});
