import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { ConfigError, type ConfigSpec, describeConfig, readConfig } from './config.ts';
import { bool, int, oneOf, optional, secret, secretFile, text, url, urls } from './config-readers.ts';

const folder = mkdtempSync(join(tmpdir(), 'config-'));
after(() => rmSync(folder, { recursive: true }));
const keyFile = join(folder, 'key');
writeFileSync(keyFile, 'hush hush\n');
const emptyFile = join(folder, 'empty');
writeFileSync(emptyFile, '\n');

const spec = {
  databaseUrl: url('Postgres of this service'),
  leaseTtlMs: int('How long a DEK may be used', { min: 1_000, max: 600_000, default: 60_000 }),
  plaintext: bool('Serve without TLS', { default: false }),
  keyExpiry: oneOf('What expiry does', ['STOP', 'NEXT_START'], { default: 'STOP' }),
  region: optional(text('Where this runs')),
  masterKey: secretFile('Seals the private keys'),
  clientSecret: secret('Secret of this principal'),
} as const;

const good = { DATABASE_URL: 'postgres://app:pass@db:5432/kv', MASTER_KEY: keyFile, CLIENT_SECRET: 'hush' };

describe('readConfig', () => {
  test('reads every setting as its type, with defaults', () => {
    assert.deepEqual(
      { ...readConfig({ ...good, LEASE_TTL_MS: '1000', PLAINTEXT: '1', KEY_EXPIRY: 'NEXT_START', REGION: '' }, spec) },
      {
        databaseUrl: good.DATABASE_URL,
        leaseTtlMs: 1_000,
        plaintext: true,
        keyExpiry: 'NEXT_START',
        region: undefined,
        masterKey: 'hush hush',
        clientSecret: 'hush',
      },
    );
    const { leaseTtlMs, plaintext, keyExpiry } = readConfig(good, spec);
    assert.deepEqual([leaseTtlMs, plaintext, keyExpiry], [60_000, false, 'STOP']);
  });

  test('reports all problems at once, each with name, value and expected form, without secrets', () => {
    const env = {
      DATABASE_URL: '//app:pass@db:x',
      LEASE_TTL_MS: '999',
      PLAINTEXT: 'yes',
      KEY_EXPIRY: 'stop',
      MASTER_KEY: join(folder, 'nowhere'),
    };
    assert.throws(
      () => readConfig(env, spec),
      (error) => {
        assert.ok(error instanceof ConfigError);
        assert.deepEqual(
          error.problems.map(({ name }) => name),
          ['DATABASE_URL', 'LEASE_TTL_MS', 'PLAINTEXT', 'KEY_EXPIRY', 'MASTER_KEY', 'CLIENT_SECRET'],
        );
        assert.match(error.message, /LEASE_TTL_MS: got "999", expected a whole number from 1000 to 600000/);
        assert.match(error.message, /CLIENT_SECRET: got nothing, expected a secret \(Secret of this principal\)/);
        assert.match(error.message, /KEY_EXPIRY: got "stop", expected one of STOP, NEXT_START/);
        assert.doesNotMatch(error.message, /pass@/);
        return true;
      },
    );
  });

  for (const wrong of ['1e3', '1.5', '0x10', 'NaN', ' ', '600001', '-1']) {
    test(`int refuses ${JSON.stringify(wrong)}`, () => {
      assert.throws(() => readConfig({ LEASE_TTL_MS: wrong }, { leaseTtlMs: spec.leaseTtlMs }), ConfigError);
    });
  }

  test('refuses an empty secret file', () => {
    assert.throws(() => readConfig({ MASTER_KEY: emptyFile }, { masterKey: spec.masterKey }), /\(empty\)/);
  });

  test('returns a frozen object', () => {
    assert.ok(Object.isFrozen(readConfig(good, spec)));
  });
});

test('describeConfig shows all settings and hides secrets', () => {
  const shown = describeConfig(spec, readConfig(good, spec));
  assert.deepEqual(shown, {
    DATABASE_URL: 'postgres://app:‹set›@db:5432/kv',
    LEASE_TTL_MS: '60000',
    PLAINTEXT: 'false',
    KEY_EXPIRY: 'STOP',
    REGION: '‹not set›',
    MASTER_KEY: '‹set›',
    CLIENT_SECRET: '‹set›',
  });
});

test('a specification without a reader for a setting does not compile', () => {
  // @ts-expect-error a text is not a reader
  const wrong: ConfigSpec = { name: 'text' };
  assert.ok(wrong);
});

test('G8: an error about a list of URLs hides a password, even with a comma in it', () => {
  const read = (natsUrl: string) => readConfig({ NATS_URL: natsUrl }, { natsUrl: urls('NATS servers') });
  for (const wrong of ['nats://u:hun,ter2@h:4222', 'nats://h:1,nats://u:hun,ter2@h:2', 'nats://u:hun,ter2@h,nats:']) {
    assert.throws(
      () => read(wrong),
      (error: Error) => error instanceof ConfigError && !/hun|ter2/.test(error.message),
    );
  }
});
