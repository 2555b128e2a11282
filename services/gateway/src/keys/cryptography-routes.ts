import type { Static, TSchema } from '@sinclair/typebox';
import type { Caller } from '../cloud/caller.ts';
import { keyUrl } from '../cloud/names.ts';
import { type Route, type RouteReply, route } from '../http/route.ts';
import { encryptionAlgorithm, signatureAlgorithm } from './key-bundle.ts';
import { type KeyParts, versionOf } from './routes.ts';
import { CipherBody, SignBody, VerifyBody } from './schemas.ts';

const bytesOf = (text: string): Uint8Array => Buffer.from(text, 'base64url');
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');

/** Uses of a key version; without a version, of the current one. */
export const cryptographyRoutes = ({ backends, names }: KeyParts): readonly Route[] => {
  const { keyVault } = backends;
  const result = (keyVersion: string, bytes: Uint8Array): RouteReply => ({
    body: { kid: keyUrl(names, keyVersion), value: textOf(bytes) },
  });
  return [
    ...operation('encrypt', CipherBody, async (name, { alg, value }, caller) => {
      const request = { name, algorithm: encryptionAlgorithm(alg), plaintext: bytesOf(value) };
      const { keyVersion, ciphertext } = await keyVault.encrypt(request, caller.as('key-vault'));
      return result(keyVersion, ciphertext);
    }),
    ...operation('decrypt', CipherBody, async (name, { alg, value }, caller) => {
      const request = { name, algorithm: encryptionAlgorithm(alg), ciphertext: bytesOf(value) };
      const { keyVersion, plaintext } = await keyVault.decrypt(request, caller.as('key-vault'));
      return result(keyVersion, plaintext);
    }),
    ...operation('wrapkey', CipherBody, async (name, { alg, value }, caller) => {
      const request = { name, algorithm: encryptionAlgorithm(alg), plaintextKey: bytesOf(value) };
      const { keyVersion, wrappedKey } = await keyVault.wrapKey(request, caller.as('key-vault'));
      return result(keyVersion, wrappedKey);
    }),
    ...operation('unwrapkey', CipherBody, async (name, { alg, value }, caller) => {
      const request = { name, algorithm: encryptionAlgorithm(alg), wrappedKey: bytesOf(value) };
      const { keyVersion, plaintextKey } = await keyVault.unwrapKey(request, caller.as('key-vault'));
      return result(keyVersion, plaintextKey);
    }),
    ...operation('sign', SignBody, async (name, { alg, value }, caller) => {
      const request = { name, algorithm: signatureAlgorithm(alg), digest: bytesOf(value) };
      const { keyVersion, signature } = await keyVault.sign(request, caller.as('key-vault'));
      return result(keyVersion, signature);
    }),
    ...operation('verify', VerifyBody, async (name, { alg, digest, value }, caller) => {
      const request = { name, algorithm: signatureAlgorithm(alg), digest: bytesOf(digest), signature: bytesOf(value) };
      const { valid } = await keyVault.verify(request, caller.as('key-vault'));
      return { body: { value: valid } };
    }),
  ];
};

const operation = <Body extends TSchema>(
  verb: string,
  body: Body,
  run: (name: string, body: Static<Body>, caller: Caller) => Promise<RouteReply>,
): readonly Route[] => {
  const common = { host: 'vault', method: 'POST', body } as const;
  return [
    route({
      ...common,
      path: `/:vault/keys/:key/${verb}`,
      does: `${verb} with the current version`,
      handle: ({ params, body: given }, caller) =>
        run(versionOf(params as { vault: string; key: string }), given, caller),
    }),
    route({
      ...common,
      path: `/:vault/keys/:key/:version/${verb}`,
      does: `${verb} with a version`,
      handle: ({ params, body: given }, caller) =>
        run(versionOf(params as { vault: string; key: string }), given, caller),
    }),
  ];
};
