import assert from 'node:assert/strict';
import {
  constants,
  createHash,
  createPublicKey,
  generateKeyPairSync,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
  verify as verifySignature,
} from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { systemRandom } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { createMemorySealKeyStore } from '../sealing/seal-key-store.ts';
import { Sealing } from '../sealing/sealing.ts';
import { createRsaPool } from './pool.ts';
import type { NewRsaKey, RsaEngine, RsaKey } from './rsa.ts';
import { SimulatedRsa } from './simulated-rsa.ts';

const engines: Record<string, (sealing: Sealing, legacyPadding: boolean) => RsaEngine> = {
  'worker threads': (sealing, legacyPadding) => createRsaPool({ sealing, workers: 2, legacyPadding }),
  simulated: (sealing, legacyPadding) => new SimulatedRsa({ sealing, random: systemRandom, legacyPadding }),
};

const newSealing = () =>
  new Sealing({
    store: createMemorySealKeyStore(),
    masterKeys: { current: masterKey(randomBytes(32)), previous: [] },
    random: systemRandom,
  });

const keyOf = (version: string, made: NewRsaKey): RsaKey => ({
  version,
  ...order,
  publicJwk: made.publicJwk,
  sealedPrivateKey: async () => made.sealedPrivateKey,
});

const rejectsWith =
  (reason: string, code = 'INVALID_ARGUMENT') =>
  (cause: unknown) => {
    assert.ok(cause instanceof Rejection, String(cause));
    assert.deepEqual([cause.code, cause.reason], [code, reason]);
    return true;
  };

/** The tenant of the keys in these tests. */
const order = { tenant: 'tenants/t' };

const flipped = (bytes: Uint8Array, index = bytes.length - 1) =>
  bytes.map((byte, at) => (at === index ? byte ^ 1 : byte));

/** A private JWK made by OpenSSL, with fields changed or removed. */
function privateJwk(bits: number, change: Record<string, unknown> = {}): Record<string, unknown> {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: bits });
  return { ...privateKey.export({ format: 'jwk' }), ...change };
}

for (const [name, createEngine] of Object.entries(engines)) {
  const sealing = newSealing();
  const engine = createEngine(sealing, false);
  const legacy = createEngine(sealing, true);
  after(() => Promise.all([engine.close(), legacy.close()]));
  let first: RsaKey;
  let second: RsaKey;
  before(async () => {
    first = keyOf('keys/a/1', await engine.generate('keys/a/1', 2048, order));
    second = keyOf('keys/a/2', await engine.generate('keys/a/2', 3072, order));
  });
  const dek = randomBytes(32);

  describe(`wraps of the RSA engine ${name}`, () => {
    for (const algorithm of ['RSA-OAEP-256', 'RSA-OAEP', 'RSA1_5']) {
      test(`${algorithm} unwraps what it wrapped, up to the limit of the key; a longer value is refused (KV-40, KV-42)`, async () => {
        for (const [key, modulus] of [
          [first, 256],
          [second, 384],
        ] as const) {
          const limit = modulus - ({ 'RSA-OAEP-256': 66, 'RSA-OAEP': 42 }[algorithm] ?? 11);
          for (const length of [0, 1, 32, limit]) {
            const value = randomBytes(length);
            const ciphertext = await legacy.wrap(key, { algorithm, value });
            assert.equal(ciphertext.length, modulus);
            assert.deepEqual([...(await legacy.unwrap(key, { algorithm, value: ciphertext }))], [...value]);
          }
          const tooLong = { algorithm, value: randomBytes(limit + 1) };
          await assert.rejects(legacy.wrap(key, tooLong), rejectsWith('PLAINTEXT_TOO_LONG'));
        }
      });

      test(`${algorithm}: a changed ciphertext or a ciphertext of another key is refused (KV-42)`, async () => {
        const value = await legacy.wrap(first, { algorithm, value: dek });
        // RSA1_5 has no checksum: one changed ciphertext in 2^16 keeps its padding, so it is tried once.
        for (const index of algorithm === 'RSA1_5' ? [100] : [0, 1, 100, 255]) {
          const job = { algorithm, value: flipped(value, index) };
          await assert.rejects(legacy.unwrap(first, job), rejectsWith('BAD_CIPHERTEXT'));
        }
        const other = keyOf('keys/b/1', await legacy.generate('keys/b/1', 2048, order));
        if (algorithm !== 'RSA1_5') {
          await assert.rejects(legacy.unwrap(other, { algorithm, value }), rejectsWith('BAD_CIPHERTEXT'));
        }
        const allOnes = { algorithm, value: new Uint8Array(256).fill(255) };
        await assert.rejects(legacy.unwrap(first, allOnes), rejectsWith('BAD_CIPHERTEXT'));
        for (const length of [0, 255, 257]) {
          const job = { algorithm, value: randomBytes(length) };
          await assert.rejects(legacy.unwrap(first, job), rejectsWith('BAD_CIPHERTEXT_LENGTH'));
        }
      });
    }

    test('two wraps of one value differ, and another algorithm cannot unwrap them', async () => {
      const wraps = await Promise.all([1, 2].map(() => engine.wrap(first, { algorithm: 'RSA-OAEP-256', value: dek })));
      assert.notDeepEqual(wraps[0], wraps[1]);
      const asOther = { algorithm: 'RSA-OAEP', value: wraps[0] ?? dek };
      await assert.rejects(engine.unwrap(first, asOther), rejectsWith('BAD_CIPHERTEXT'));
    });

    test('RSA1_5 is off unless it was turned on; unknown algorithms are refused (KV-40)', async () => {
      await assert.rejects(engine.wrap(first, { algorithm: 'RSA1_5', value: dek }), rejectsWith('ALGORITHM_DISABLED'));
      const value = randomBytes(256);
      await assert.rejects(engine.unwrap(first, { algorithm: 'RSA1_5', value }), rejectsWith('ALGORITHM_DISABLED'));
      for (const algorithm of ['', 'A256KW', 'toString']) {
        await assert.rejects(engine.wrap(first, { algorithm, value: dek }), rejectsWith('ALGORITHM_UNSUPPORTED'));
        await assert.rejects(engine.sign(first, { algorithm, digest: dek }), rejectsWith('ALGORITHM_UNSUPPORTED'));
      }
    });

    test('wrap and unwrap do not change the buffers of the caller', async () => {
      const value = Uint8Array.from(dek);
      const wrapped = await engine.wrap(first, { algorithm: 'RSA-OAEP-256', value });
      const copy = Uint8Array.from(wrapped);
      await engine.unwrap(first, { algorithm: 'RSA-OAEP-256', value: wrapped });
      assert.deepEqual([...value], [...dek]);
      assert.deepEqual(wrapped, copy);
    });

    test('a rewrap moves a value to another key and refuses a changed ciphertext (CMK-15)', async () => {
      const value = await engine.wrap(first, { algorithm: 'RSA-OAEP-256', value: dek });
      const algorithms = { sourceAlgorithm: 'RSA-OAEP-256', targetAlgorithm: 'RSA-OAEP-256' };
      const moved = await engine.rewrap(first, second, { ...algorithms, value });
      assert.deepEqual([...(await engine.unwrap(second, { algorithm: 'RSA-OAEP-256', value: moved }))], [...dek]);
      const changed = { ...algorithms, value: flipped(value) };
      await assert.rejects(engine.rewrap(first, second, changed), rejectsWith('BAD_CIPHERTEXT'));
    });
  });

  describe(`signatures of the RSA engine ${name}`, () => {
    for (const [bits, length] of [
      [256, 32],
      [384, 48],
      [512, 64],
    ] as const) {
      test(`RS${bits} and PS${bits} sign a digest of ${length} bytes (KV-32, KV-41)`, async () => {
        for (const algorithm of [`RS${bits}`, `PS${bits}`]) {
          const digest = randomBytes(length);
          const signature = await engine.sign(first, { algorithm, digest });
          const verify = (
            change: Partial<{ digest: Uint8Array; signature: Uint8Array; algorithm: string }>,
            key = first,
          ) => engine.verify(key, { algorithm, digest, signature, ...change });
          assert.equal(await verify({}), true);
          assert.equal(await verify({ digest: flipped(digest) }), false);
          assert.equal(await verify({ signature: flipped(signature) }), false);
          assert.equal(await verify({ signature: signature.subarray(1) }), false);
          assert.equal(await verify({ signature: new Uint8Array(256).fill(255) }), false);
          assert.equal(await verify({}, second), false);
          assert.equal(
            await verify({ algorithm: algorithm.replace(/^../, (kind) => (kind === 'RS' ? 'PS' : 'RS')) }),
            false,
          );
          const short = { algorithm, digest: digest.subarray(1) };
          await assert.rejects(engine.sign(first, short), rejectsWith('BAD_DIGEST_LENGTH'));
        }
      });
    }
  });

  describe(`sizes and imports of the RSA engine ${name}`, () => {
    test('sizes other than 2048, 3072 and 4096 are refused, generated or imported (CMK-20)', async () => {
      for (const bits of [0, 1024, 2047, 8192]) {
        await assert.rejects(engine.generate('keys/size/1', bits, order), rejectsWith('KEY_SIZE_UNSUPPORTED'));
      }
      const small = { format: 'jwk', jwk: privateJwk(1024) } as const;
      await assert.rejects(engine.import('keys/size/1', small, order), rejectsWith('KEY_SIZE_UNSUPPORTED'));
    });

    test('an imported JWK or PEM wraps and unwraps (KV-21)', async () => {
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
      const jwk = { ...privateKey.export({ format: 'jwk' }), kid: 'mine' };
      const materials = [
        { format: 'jwk', jwk },
        { format: 'pem', pem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() },
        { format: 'pem', pem: privateKey.export({ type: 'pkcs1', format: 'pem' }).toString() },
      ] as const;
      for (const [index, material] of materials.entries()) {
        const version = `keys/imported/${index}`;
        const made = await engine.import(version, material, order);
        assert.deepEqual(made.publicJwk, { kty: 'RSA', n: jwk.n, e: jwk.e });
        assert.equal(made.bits, 2048);
        const key = keyOf(version, made);
        const value = await engine.wrap(key, { algorithm: 'RSA-OAEP-256', value: dek });
        assert.deepEqual([...(await engine.unwrap(key, { algorithm: 'RSA-OAEP-256', value }))], [...dek]);
      }
    });

    test('an invalid RSA private key is refused with the reason, and for a JWK with the field', async () => {
      const good = privateJwk(2048);
      const other = privateJwk(2048);
      const { d: _d, ...withoutD } = good;
      const cases: [Record<string, unknown>, string, string][] = [
        [{ kty: 'EC', crv: 'P-256' }, 'NOT_AN_RSA_KEY', 'kty'],
        [{ kty: 'oct', k: 'AAAA' }, 'NOT_AN_RSA_KEY', 'kty'],
        [{ kty: 'RSA', n: good.n, e: good.e }, 'PRIVATE_PART_MISSING', 'd'],
        [withoutD, 'PRIVATE_PART_MISSING', 'd'],
        [{ ...good, n: undefined }, 'KEY_MALFORMED', 'n'],
        [{ ...good, n: 'not base64url!' }, 'KEY_MALFORMED', 'n'],
        [{ ...good, e: 65537 }, 'KEY_MALFORMED', 'e'],
        [{ ...good, n: other.n }, 'KEY_MALFORMED', 'n'],
        [{ ...good, d: other.d }, 'KEY_MALFORMED', 'd'],
        [{ ...good, dp: other.dp }, 'KEY_MALFORMED', 'dp'],
        [{ ...good, dq: other.dq }, 'KEY_MALFORMED', 'dq'],
        [{ ...good, qi: other.qi }, 'KEY_MALFORMED', 'qi'],
        [privateJwk(1024), 'KEY_SIZE_UNSUPPORTED', 'n'],
        [{ ...good, e: 'Aw' }, 'KEY_WEAK', 'e'],
        [{ ...good, e: 'AQ' }, 'KEY_WEAK', 'e'],
      ];
      for (const [jwk, reason, field] of cases) {
        await assert.rejects(engine.import('keys/bad/1', { format: 'jwk', jwk }, order), (cause) => {
          rejectsWith(reason)(cause);
          assert.equal(cause instanceof Rejection && cause.metadata.field, field);
          return true;
        });
      }
      const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
      const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
      const passphrase = { cipher: 'aes-256-cbc', passphrase: 'secret' };
      const pems: [string, string][] = [
        [privateKey.export({ type: 'pkcs8', format: 'pem', ...passphrase }).toString(), 'PEM_ENCRYPTED'],
        [privateKey.export({ type: 'pkcs1', format: 'pem', ...passphrase }).toString(), 'PEM_ENCRYPTED'],
        [publicKey.export({ type: 'spki', format: 'pem' }).toString(), 'PRIVATE_PART_MISSING'],
        [ec.export({ type: 'pkcs8', format: 'pem' }).toString(), 'NOT_AN_RSA_KEY'],
        ['-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----', 'KEY_MALFORMED'],
        ['', 'KEY_MALFORMED'],
      ];
      for (const [pem, reason] of pems) {
        await assert.rejects(engine.import('keys/bad/1', { format: 'pem', pem }, order), rejectsWith(reason));
      }
    });
  });

  describe(`keys at rest in the RSA engine ${name}`, () => {
    test('a sealed key that was changed, or belongs to another version, is refused', async () => {
      const version = 'keys/sealed/1';
      const made = await engine.generate(version, 2048, order);
      const value = await engine.wrap(keyOf(version, made), { algorithm: 'RSA-OAEP-256', value: dek });
      const job = { algorithm: 'RSA-OAEP-256', value };
      const changed = keyOf(version, { ...made, sealedPrivateKey: flipped(made.sealedPrivateKey) });
      await assert.rejects(engine.unwrap(changed, job), rejectsWith('SEALED_KEY_CORRUPT', 'DATA_LOSS'));
      await engine.generate('keys/sealed/2', 2048, order);
      const moved = keyOf('keys/sealed/2', made);
      await assert.rejects(engine.unwrap(moved, job), rejectsWith('SEALED_KEY_CORRUPT', 'DATA_LOSS'));
      assert.deepEqual([...(await engine.unwrap(keyOf(version, made), job))], [...dek]);
    });

    test('after a purge and an evict, a key can neither be used nor made again (KV-15, CMK-108)', async () => {
      const version = 'keys/purged/1';
      const made = await engine.generate(version, 2048, order);
      const key = keyOf(version, made);
      const job = {
        algorithm: 'RSA-OAEP-256',
        value: await engine.wrap(key, { algorithm: 'RSA-OAEP-256', value: dek }),
      };
      assert.deepEqual([...(await engine.unwrap(key, job))], [...dek]);
      await sealing.destroy(version);
      await engine.evict(version);
      await assert.rejects(engine.unwrap(key, job), rejectsWith('KEY_PURGED', 'FAILED_PRECONDITION'));
      await assert.rejects(engine.generate(version, 2048, order), rejectsWith('KEY_PURGED', 'FAILED_PRECONDITION'));
    });

    test('a closed engine finishes its jobs and refuses new ones with UNAVAILABLE', async () => {
      const closing = createEngine(sealing, false);
      const value = await closing.wrap(first, { algorithm: 'RSA-OAEP-256', value: dek });
      const running = closing.unwrap(first, { algorithm: 'RSA-OAEP-256', value });
      await Promise.all([closing.close(), running]);
      const late = closing.unwrap(first, { algorithm: 'RSA-OAEP-256', value });
      await assert.rejects(late, rejectsWith('RSA_CLOSED', 'UNAVAILABLE'));
    });

    test('the result of an import contains no plain private key', async () => {
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
      const made = await engine.import(
        'keys/leak/1',
        {
          format: 'jwk',
          jwk: { ...privateKey.export({ format: 'jwk' }) },
        },
        order,
      );
      const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' });
      const primes = pkcs8.subarray(pkcs8.length - 300, pkcs8.length - 200);
      assert.equal(Buffer.from(made.sealedPrivateKey).includes(primes.subarray(0, 16)), false);
      assert.deepEqual(Object.keys(made.publicJwk).sort(), ['e', 'kty', 'n']);
    });
  });
}

test("worker threads use the padding of each job's algorithm, whatever the job before it used (KV-40)", async () => {
  const engine = createRsaPool({ sealing: newSealing(), workers: 1, legacyPadding: true });
  try {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const jwk: Record<string, unknown> = { ...privateKey.export({ format: 'jwk' }) };
    const key = keyOf('keys/p/1', await engine.import('keys/p/1', { format: 'jwk', jwk }, order));
    const { RSA_PKCS1_OAEP_PADDING: padding, RSA_PKCS1_PADDING } = constants;
    const paddings = [
      ['RSA-OAEP-256', { padding, oaepHash: 'sha256' }],
      ['RSA1_5', { padding: RSA_PKCS1_PADDING }],
      ['RSA-OAEP', { padding, oaepHash: 'sha1' }],
    ] as const;
    const value = randomBytes(32);
    await Promise.all(
      [...paddings, ...paddings].map(async ([algorithm, options]) => {
        const wrapped = await engine.wrap(key, { algorithm, value });
        assert.deepEqual(privateDecrypt({ key: privateKey, ...options }, wrapped), value);
        const sealed = publicEncrypt({ key: publicKey, ...options }, value);
        assert.deepEqual(Buffer.from(await engine.unwrap(key, { algorithm, value: sealed })), value);
      }),
    );
  } finally {
    await engine.close();
  }
});

test('OpenSSL accepts the signatures of the worker threads (KV-41)', async () => {
  const engine = createRsaPool({ sealing: newSealing(), workers: 1 });
  try {
    const made = await engine.generate('keys/s/1', 2048, order);
    const key = createPublicKey({ key: { ...made.publicJwk }, format: 'jwk' });
    for (const bits of [256, 384, 512]) {
      const message = randomBytes(100);
      const digest = createHash(`sha${bits}`).update(message).digest();
      for (const [kind, padding] of [
        ['RS', constants.RSA_PKCS1_PADDING],
        ['PS', constants.RSA_PKCS1_PSS_PADDING],
      ] as const) {
        const signature = await engine.sign(keyOf('keys/s/1', made), { algorithm: kind + bits, digest });
        assert.ok(
          verifySignature(`sha${bits}`, message, { key, padding, saltLength: bits / 8 }, signature),
          kind + bits,
        );
      }
    }
  } finally {
    await engine.close();
  }
});
