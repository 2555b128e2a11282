import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type History, openHistory } from '@interlock/lab/judge/journal/history';
import { makeAuthority, makeServer, type Pair, pemOf } from '@interlock/local/certificates.ts';
import { openDataFolder } from '@interlock/local/data-folder.ts';
import { type LocalCloud, startLocalCloud } from '@interlock/local/local-cloud.ts';
import { serviceNames } from '@interlock/local/services.ts';
import { openOutside } from '../cloud/clients.ts';
import { withoutTelemetry } from '../cloud/test-cloud.ts';
import { until } from '../cloud/until.ts';
import { makeWorld, untilPower } from '../cloud/world.ts';

// A whole cloud while its certificates change. In `npm test`, libs/rpc/src/certificates.test.ts replaces them during calls, and
// connections-are-guarded.test.ts the authorities of Postgres and NATS.
const names = { dns: ['localhost'], ip: ['127.0.0.1'] };
const folder = mkdtempSync(join(tmpdir(), 'interlock-'));
const files = { ca: join(folder, 'ca.pem'), certificate: join(folder, 'tls.pem'), key: join(folder, 'tls.key') };
let authority: Pair;
let cloud: LocalCloud;

/** All services use the same certificate. Each file is replaced atomically, but not the pair. */
const lay = async (pair: Pair, ca: string): Promise<void> => {
  const { certificate, key } = await pemOf(pair);
  for (const [file, text] of [
    [files.ca, ca],
    [files.key, key],
    [files.certificate, certificate],
  ] as const) {
    writeFileSync(`${file}.new`, text, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }
};
/** Waits until the process of every service logs that it has loaded the files. */
const taken = async (text: string): Promise<void> => {
  for (const service of serviceNames)
    await until(`${service}: ${text}`, async () =>
      readFileSync(join(folder, `logs/${service}.log`), 'utf8').includes(text),
    );
};
const serialOf = ({ certificate }: Pair): string => certificate.serialNumber.toUpperCase();

before(async () => {
  authority = await makeAuthority(Date.now());
  await lay(await makeServer(authority, Date.now(), names), (await pemOf(authority)).certificate);
  cloud = await startLocalCloud({
    data: openDataFolder(folder),
    env: process.env,
    name: `t${randomBytes(4).toString('hex')}`,
    temporary: true,
    settings: {
      ...withoutTelemetry,
      NATS_STREAM_BYTES_MAX: String(16 * 1024 ** 2),
      TLS_CERTIFICATE_FILE: files.certificate,
      TLS_KEY_FILE: files.key,
      TLS_CA_FILE: files.ca,
      TLS_CLIENT_CA_FILE: files.ca,
      TLS_RELOAD_INTERVAL_MS: '100',
      GUEST_IO_TIMEOUT_MS: '30000',
    },
  });
});
after(async () => {
  await cloud.stop();
  rmSync(folder, { recursive: true, force: true });
});

test('G2, G6: certificates and authorities of services are replaced without a failed I/O, and a later revocation works', async () => {
  const outside = () =>
    openOutside({
      ...cloud,
      authorityFile: files.ca,
      client: { certificateFile: files.certificate, keyFile: files.key },
    });
  const first = outside();
  const world = await makeWorld(first.administrator, [['PREMIUM_SSD'], ['STANDARD_SSD']]);
  const read = openHistory(join(folder, 'services/compute/guests'), world.machines);
  const writesSince = (since: number): History =>
    read().filter(({ op, invokedAt }) => op === 'write' && invokedAt >= since);
  const guestsWrite = (since: number) =>
    until('every guest writes', async () => {
      const disks = new Set(writesSince(since).flatMap(({ disk, ok }) => (ok ? disk : [])));
      return disks.size === world.machines.length;
    });
  await guestsWrite(0);

  // The order in which an authority is replaced: first trusted in addition to the old one, then used, then the only one trusted.
  const next = await makeAuthority(Date.now());
  const [oldCa, newCa] = [(await pemOf(authority)).certificate, (await pemOf(next)).certificate];
  const [one, two, three] = [
    await makeServer(authority, Date.now(), names),
    await makeServer(next, Date.now(), names),
    await makeServer(next, Date.now(), names),
  ];
  for (const [pair, ca] of [
    [one, `${oldCa}${newCa}`],
    [two, `${oldCa}${newCa}`],
    [three, newCa],
  ] as const) {
    await lay(pair, ca);
    await taken(serialOf(pair));
    // Calls work over the existing connections and over a new one.
    await first.administrator.keyVault.getKeyVersion({ name: world.keyVersion });
    const fresh = outside();
    await fresh.administrator.keyVault.getKeyVersion({ name: world.keyVersion });
    fresh.close();
    await guestsWrite(Date.now());
  }
  first.close();

  // Every connection ends, those of the guests too. Guests outlive their compute.
  for (const service of serviceNames) await cloud.restart(service);
  await guestsWrite(Date.now());
  assert.deepEqual(
    read().filter(({ ok }) => !ok),
    [],
  );
  const last = outside();
  await last.administrator.keyVault.disableKeyVersion({ name: world.keyVersion });
  for (const name of world.machines) {
    const { stopReason } = await untilPower(last.administrator, name, 'STOPPED');
    assert.equal(stopReason?.reason, 'KEY_DISABLED');
  }
  last.close();
});
