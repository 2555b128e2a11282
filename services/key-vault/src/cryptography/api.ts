import {
  type DecryptRequest,
  type EncryptionAlgorithm,
  type EncryptRequest,
  type SignatureAlgorithm,
  type SignRequest,
  type UnwrapKeyOutcome,
  UnwrapKeyRequest,
  type UnwrapKeysRequest,
  type UnwrapKeysResponse,
  type VerifyRequest,
  type WrapKeyRequest,
} from '@interlock/contracts/interlock/key_vault/v1/cryptography.ts';
import { Rejection } from '@interlock/event-store';
import type { Call } from '@interlock/rpc';
import type { AuditedItem, AuditLog } from '../audit/log.ts';
import type { CipherJob } from '../rsa/rsa.ts';
import type { SettleBatch } from './batch.ts';
import { type CryptographyParts, useKey, useKeyTogether, versionUse } from './use.ts';

/** Uses of a key version: request in, result out (KV-30…KV-32, KV-40). */
export const cryptographyApi = (
  parts: CryptographyParts & { readonly log: AuditLog; readonly settleBatch: SettleBatch },
) => {
  const { log } = parts;
  const encrypt = versionUse(parts, 'encrypt', (engine, key, { algorithm, plaintext }: EncryptRequest) =>
    engine.encrypt(key, cipherJob(algorithm, plaintext, 'plaintext')),
  );
  const decrypt = versionUse(parts, 'decrypt', (engine, key, { algorithm, ciphertext }: DecryptRequest) =>
    engine.decrypt(key, cipherJob(algorithm, ciphertext, 'ciphertext')),
  );
  const wrap = versionUse(parts, 'wrapKey', (engine, key, { algorithm, plaintextKey }: WrapKeyRequest) =>
    engine.wrap(key, cipherJob(algorithm, plaintextKey, 'plaintext_key')),
  );
  const unwrap = versionUse(parts, 'unwrapKey', (engine, key, { algorithm, wrappedKey }: UnwrapKeyRequest) =>
    engine.unwrap(key, cipherJob(algorithm, wrappedKey, 'wrapped_key')),
  );
  const sign = versionUse(parts, 'sign', (engine, key, { algorithm, digest }: SignRequest) =>
    engine.sign(key, { algorithm: signatureAlgorithm(algorithm), digest }),
  );
  const verify = versionUse(parts, 'verify', (engine, key, { algorithm, digest, signature }: VerifyRequest) =>
    engine.verify(key, { algorithm: signatureAlgorithm(algorithm), digest, signature }),
  );
  const wrapKey = log.audited('KeyWrap', async (request: WrapKeyRequest, call: Call, entry) => {
    const { value: wrappedKey, ...used } = await useKey(parts, wrap, { request, call, entry });
    return { ...used, wrappedKey };
  });
  const unwrapTogether = log.auditedTogether(
    'KeyUnwrap',
    (items: readonly AuditedItem<UnwrapKeyRequest>[]) => useKeyTogether(parts, unwrap, items),
    ({ value }) => value.fill(0),
  );
  return {
    encrypt: log.audited('KeyEncrypt', async (request: EncryptRequest, call: Call, entry) => {
      const { value: ciphertext, ...used } = await useKey(parts, encrypt, { request, call, entry });
      return { ...used, ciphertext };
    }),
    decrypt: log.audited(
      'KeyDecrypt',
      async (request: DecryptRequest, call: Call, entry) => {
        const { value: plaintext, ...used } = await useKey(parts, decrypt, { request, call, entry });
        return { ...used, plaintext };
      },
      ({ plaintext }) => plaintext.fill(0),
    ),
    // Always cleared, also if the request is refused before it is handled.
    wrapKey: (request: WrapKeyRequest, call: Call) =>
      wrapKey(request, call).finally(() => request.plaintextKey.fill(0)),
    unwrapKey: log.audited(
      'KeyUnwrap',
      async (request: UnwrapKeyRequest, call: Call, entry) => {
        const { value: plaintextKey, ...used } = await useKey(parts, unwrap, { request, call, entry });
        return { ...used, plaintextKey };
      },
      ({ plaintextKey }) => plaintextKey.fill(0),
    ),
    async unwrapKeys({ items }: UnwrapKeysRequest, call: Call): Promise<UnwrapKeysResponse> {
      const outcomes = await parts.settleBatch(
        items,
        call,
        ({ unwrap = UnwrapKeyRequest.create() }) => unwrap,
        unwrapTogether,
      );
      return {
        outcomes: outcomes.map((outcome): UnwrapKeyOutcome => {
          if ('refused' in outcome) return { outcome: { $case: 'refused', value: outcome.refused } };
          const { keyVersion, accessEpoch, value: plaintextKey } = outcome.answer;
          return { outcome: { $case: 'unwrapped', value: { keyVersion, accessEpoch, plaintextKey } } };
        }),
      };
    },
    sign: log.audited('KeySign', async (request: SignRequest, call: Call, entry) => {
      const { value: signature, ...used } = await useKey(parts, sign, { request, call, entry });
      return { ...used, signature };
    }),
    verify: log.audited('KeyVerify', async (request: VerifyRequest, call: Call, entry) => {
      const { value: valid, ...used } = await useKey(parts, verify, { request, call, entry });
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
