import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostSpec } from '@interlock/host';
import { ConfigError, readConfig } from '@interlock/runtime';
import { diskProblems, diskSpec, leaseTermsOf, roleProblems } from './settings.ts';

const given = { DATA_FOLDER: 'data', MASTER_KEY_FILE: 'key', DISK_ADDRESS: 'here:1' };
const read = (env: Readonly<Record<string, string>>) => readConfig({ ...given, ...env }, diskSpec);
const problemsOf = (env: Readonly<Record<string, string>>): readonly string[] => {
  try {
    const authzTtlMs = readConfig(env, { authzTtlMs: hostSpec.authzTtlMs }).authzTtlMs;
    return diskProblems({ ...read(env), authzTtlMs }).map(({ name, expected }) => `${name} ${expected}`);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(({ name, expected }) => `${name} ${expected}`);
    throw error;
  }
};

test('G1: the defaults are a lease of 60 s, an I/O pause of 30 s and a grace period of 10 min', () => {
  assert.deepEqual(leaseTermsOf(read({})), { ttlMs: 60_000, ioPauseTimeoutMs: 30_000, unreachableGraceMs: 600_000 });
  assert.deepEqual(problemsOf({}), []);
});

test('G1: LEASE_TTL_MS below 1 s or below twice AUTHZ_TTL_MS is refused, each with its own message', () => {
  assert.deepEqual(problemsOf({ LEASE_TTL_MS: '1000', AUTHZ_TTL_MS: '500' }), []);
  assert.match(
    problemsOf({ LEASE_TTL_MS: '999', AUTHZ_TTL_MS: '100' }).join(),
    /^LEASE_TTL_MS a whole number from 1000 /,
  );
  assert.match(
    problemsOf({ LEASE_TTL_MS: '1000', AUTHZ_TTL_MS: '501' }).join(),
    /^LEASE_TTL_MS at least twice AUTHZ_TTL_MS, which is 501: 1002 or more/,
  );
  assert.match(problemsOf({ LEASE_TTL_MS: '9999' }).join(), /twice AUTHZ_TTL_MS, which is 5000/);
});

test('the I/O pause and the grace period can be 0 but not negative, and all problems are reported together', () => {
  assert.deepEqual(problemsOf({ IO_PAUSE_TIMEOUT_MS: '0', UNREACHABLE_GRACE_MS: '0' }), []);
  const all = problemsOf({ LEASE_TTL_MS: 'soon', IO_PAUSE_TIMEOUT_MS: '-1', UNREACHABLE_GRACE_MS: '1.5' });
  assert.deepEqual(all.map((problem) => problem.split(' ')[0]).toSorted(), [
    'IO_PAUSE_TIMEOUT_MS',
    'LEASE_TTL_MS',
    'UNREACHABLE_GRACE_MS',
  ]);
});

test('NBD_LISTEN and NBD_ADDRESS are a socket or a TLS address', () => {
  const terms = { leaseTtlMs: 60_000, authzTtlMs: 5_000 };
  assert.deepEqual(diskProblems({ ...terms, nbdListen: 'unix:/run/d.sock', nbdAddress: 'tls://disk:10809' }), []);
  const expected = 'unix:/path or tls://host:port';
  assert.deepEqual(diskProblems({ ...terms, nbdListen: 'tcp://disk:1' }), [
    { name: 'NBD_LISTEN', got: 'tcp://disk:1', expected },
  ]);
});

test('a process with volumes needs a folder and a master key; a control process needs neither', () => {
  const namesOf = (env: Readonly<Record<string, string>>): readonly string[] =>
    roleProblems(readConfig({ DISK_ADDRESS: 'here:1', ...env }, diskSpec)).map(({ name }) => name);
  assert.deepEqual(namesOf({}), ['DATA_FOLDER', 'MASTER_KEY_FILE']);
  assert.deepEqual(namesOf({ DISK_ROLE: 'host', DATA_FOLDER: 'data' }), ['MASTER_KEY_FILE']);
  assert.deepEqual(namesOf({ DISK_ROLE: 'control' }), []);
  assert.deepEqual(problemsOf({ DISK_ROLE: 'both' }).join().split(' ')[0], 'DISK_ROLE');
});
