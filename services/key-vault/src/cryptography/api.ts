import {
  type DecryptRequest,
  type EncryptionAlgorithm,
  type EncryptRequest,
  type SignatureAlgorithm,
  type SignRequest,
  UnwrapKeyRequest,
  type UnwrapKeysRequest,
  type UnwrapKeysResponse,
  type VerifyRequest,
  type WrapKeyRequest,
} from '@interlock/contracts/interlock/key_vault/v1/cryptography.ts';
import { Rejection } from '@interlock/event-store';
import type { Call } from '@interlock/rpc';
import type { Asking, AuditLog } from '../audit/log.ts';
import type { CipherJob } from '../rsa.ts';
import type { EachItem } from './batch.ts';
import { type CryptographyParts, useVersion } from './use.ts';

/** Uses of a key version: request in, result out (KV-30…KV-32, KV-40). */
export const cryptographyApi = (parts: CryptographyParts & { readonly log: AuditLog; readonly eachItem: EachItem }) => {
  const { log } = parts;
  const unwrapOne = log.audited(
    'KeyUnwrap',
    async (request: UnwrapKeyRequest, call: Asking, entry) => {
      const { value: plaintextKey, ...used } = await useVersion(
        parts,
        request,
        'unwrapKey',
        call,
        entry,
        (engine, key) => engine.unwrap(key, cipherJob(request.algorithm, request.wrappedKey, 'wrapped_key')),
      );
      return { ...used, plaintextKey };
    },
    ({ plaintextKey }) => plaintextKey.fill(0),
  );
  return {
    encrypt: log.audited('KeyEncrypt', async (request: EncryptRequest, call: Call, entry) => {
      const { value: ciphertext, ...used } = await useVersion(parts, request, 'encrypt', call, entry, (engine, key) =>
        engine.encrypt(key, cipherJob(request.algorithm, request.plaintext, 'plaintext')),
      );
      return { ...used, ciphertext };
    }),
    decrypt: log.audited(
      'KeyDecrypt',
      async (request: DecryptRequest, call: Call, entry) => {
        const { value: plaintext, ...used } = await useVersion(parts, request, 'decrypt', call, entry, (engine, key) =>
          engine.decrypt(key, cipherJob(request.algorithm, request.ciphertext, 'ciphertext')),
        );
        return { ...used, plaintext };
      },
      ({ plaintext }) => plaintext.fill(0),
    ),
    wrapKey: log.audited('KeyWrap', async (request: WrapKeyRequest, call: Call, entry) => {
      try {
        const { value: wrappedKey, ...used } = await useVersion(parts, request, 'wrapKey', call, entry, (engine, key) =>
          engine.wrap(key, cipherJob(request.algorithm, request.plaintextKey, 'plaintext_key')),
        );
        return { ...used, wrappedKey };
      } finally {
        request.plaintextKey.fill(0);
      }
    }),
    unwrapKey: unwrapOne,
    async unwrapKeys({ items }: UnwrapKeysRequest, call: Call): Promise<UnwrapKeysResponse> {
      const outcomes = await parts.eachItem(items, call, ({ unwrap }, by) =>
        unwrapOne(unwrap ?? UnwrapKeyRequest.create(), by),
      );
      return {
        outcomes: outcomes.map((outcome) => ({
          outcome:
            'answer' in outcome
              ? { $case: 'unwrapped', value: outcome.answer }
              : { $case: 'refused', value: outcome.refused },
        })),
      };
    },
    sign: log.audited('KeySign', async (request: SignRequest, call: Call, entry) => {
      const { value: signature, ...used } = await useVersion(parts, request, 'sign', call, entry, (engine, key) =>
        engine.sign(key, { algorithm: signatureAlgorithm(request.algorithm), digest: request.digest }),
      );
      return { ...used, signature };
    }),
    verify: log.audited('KeyVerify', async (request: VerifyRequest, call: Call, entry) => {
      const { value: valid, ...used } = await useVersion(parts, request, 'verify', call, entry, (engine, key) => {
        const { digest, signature } = request;
        return engine.verify(key, { algorithm: signatureAlgorithm(request.algorithm), digest, signature });
      });
      return { ...used, valid };
    }),
  };
};

const encryptionAlgorithms: Partial<Readonly<Record<EncryptionAlgorithm, string>>> = {
  RSA_OAEP_256: 'RSA-OAEP-256',
  RSA_OAEP: 'RSA-OAEP',
  RSA1_5: 'RSA1_5',
};

/** @throws Rejection INVALID_ARGUMENT ALGORITHM_UNSUPPORTED (KV-93) */
export const encryptionAlgorithm = (algorithm: EncryptionAlgorithm): string => {
  const found = encryptionAlgorithms[algorithm];
  if (found !== undefined) return found;
  throw algorithmMissing(Object.keys(encryptionAlgorithms));
};

const signatureAlgorithm = (algorithm: SignatureAlgorithm): string => {
  if (algorithm !== 'SIGNATURE_ALGORITHM_UNSPECIFIED' && algorithm !== 'UNRECOGNIZED') return algorithm;
  throw algorithmMissing(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']);
};

const algorithmMissing = (known: readonly string[]): Rejection =>
  new Rejection('INVALID_ARGUMENT', 'ALGORITHM_UNSUPPORTED', `algorithm must be one of ${known.join(', ')}`, {
    field: 'algorithm',
  });

const cipherJob = (algorithm: EncryptionAlgorithm, value: Uint8Array, field: string): CipherJob => {
  const job = { algorithm: encryptionAlgorithm(algorithm), value };
  if (value.length > 0) return job;
  throw new Rejection('INVALID_ARGUMENT', 'VALUE_MISSING', `${field} must not be empty`, { field });
};
