import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { makeAuthority, makeServer, type Pair, pemOf } from '@interlock/local/certificates.ts';
import { makeNkey } from '@interlock/local/nkey.ts';
import { type ServiceName, serviceNames } from '@interlock/local/services.ts';
import { durableOf, type NatsBusOptions, natsBus, streamOf, subjectOf } from '@interlock/messaging';
import { systemClock as clock, logger } from '@interlock/runtime';
import { connect, nkeyAuthenticator } from '@nats-io/transport-node';
import { hears, natsAuthorizationPatch } from '../../deploy/kubernetes/setup/nats-authorization.ts';
import { filesLike, textOf } from '../docs/sources.ts';
import { type OverlayNats, startOverlayNats } from './nats-servers.ts';
import { render } from './render.ts';

const partitionCount = 4;
const folder = mkdtempSync(join(tmpdir(), 'interlock-nats-'));
const logged: string[] = [];
const log = logger({ service: 'test', clock, write: (line) => logged.push(line) });
let authority: Pair;
let nats: OverlayNats;
const closings: (() => Promise<void>)[] = [];
before(async () => {
  authority = await makeAuthority(Date.now());
  nats = await startOverlayNats(await render('production'), join(folder, 'nats'), authority);
});
after(async () => {
  for (const close of closings) await close();
  await nats?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** The bus as a service of that name has it in production. */
const busOf = async (service: ServiceName, changes: Partial<NatsBusOptions> = {}) => {
  const bus = await natsBus({
    servers: nats.urls,
    caFile: nats.caFile,
    seed: nats.users[service].seed,
    inboxPrefix: `_INBOX_${service}`,
    clock,
    log,
    replicas: 3,
    streamBytesMax: 16 * 1024 ** 2,
    // The refusal of a request is that nobody answers it.
    publishTimeoutMs: 2_000,
    ...changes,
  });
  closings.push(() => bus.close());
  return bus;
};
const bytes = (text: string): Uint8Array => Buffer.from(text);

test('the authorization of the production overlay is the one that is written from who hears whom', () => {
  assert.equal(
    textOf('deploy/kubernetes/overlays/production/nats-authorization.yaml'),
    natsAuthorizationPatch(partitionCount),
  );
  for (const service of serviceNames) {
    const [file = ''] = filesLike(new RegExp(`^services/${service}/src/assemble\\.ts$`));
    const sources = [...textOf(file).matchAll(/\{ source: '([a-z-]+)'/g)].map(([, source]) => source);
    assert.deepEqual(sources.toSorted(), hears[service].toSorted(), service);
  }
});

describe('on a server with the configuration of the production overlay', () => {
  test('every service tells its facts on each partition and reads back what it told', async () => {
    for (const service of serviceNames) {
      const bus = await busOf(service);
      for (let partition = 0; partition < partitionCount; partition += 1) {
        const subject = subjectOf(service, partition);
        await bus.publish(subject, `${partition}`, bytes(`${service} ${partition}`));
        assert.equal(Buffer.from((await bus.lastMessage(subject)) ?? []).toString(), `${service} ${partition}`);
      }
    }
  });

  test('a service whose stream was configured otherwise before changes it', async () => {
    const bus = await busOf('identity', { streamBytesMax: 64 * 1024 ** 2 });
    await bus.publish(subjectOf('identity', 0), 'changed', bytes('changed'));
  });

  for (const service of serviceNames) {
    test(`${service} hears ${hears[service].join(' and ')} on each partition`, { timeout: 120_000 }, async () => {
      const bus = await busOf(service);
      for (const source of hears[service])
        for (let partition = 0; partition < partitionCount; partition += 1) {
          const ending = new AbortController();
          const interest = {
            stream: streamOf(source),
            subject: subjectOf(source, partition),
            durable: durableOf(service, source, partition),
            signal: ending.signal,
          };
          for await (const delivery of bus.subscribe(interest)) {
            assert.match(Buffer.from(delivery.bytes).toString(), new RegExp(`^(${source} ${partition}|changed)$`));
            delivery.nak(1);
            if (delivery.deliveryCount < 2) continue;
            delivery.working();
            delivery.ack();
            break;
          }
          ending.abort();
        }
    });
  }

  test('G3: no service tells facts of another', async () => {
    for (const service of serviceNames) {
      const bus = await busOf(service);
      for (const other of serviceNames.filter((one) => one !== service))
        await assert.rejects(bus.publish(subjectOf(other, 0), 'forged', bytes('forged')), /ermission|timeout/i);
    }
    const last = await (await busOf('key-vault')).lastMessage(subjectOf('key-vault', 0));
    assert.equal(Buffer.from(last ?? []).toString(), 'key-vault 0', 'nothing forged arrived');
    // Nor does it get even an answer of its own on the inbox of another.
    const listener = await busOf('disk', { inboxPrefix: '_INBOX_key-vault' });
    await assert.rejects(listener.lastMessage(subjectOf('disk', 0)));
    assert.ok(logged.some((line) => line.includes('NATS does not permit that')));
  });

  test('G3: no service takes messages of another, changes its stream, or listens in', async () => {
    const connection = await connect({
      servers: [...nats.urls],
      authenticator: nkeyAuthenticator(new TextEncoder().encode(nats.users.disk.seed)),
      tls: { caFile: nats.caFile, handshakeFirst: true },
      inboxPrefix: '_INBOX_disk',
      ignoreClusterUpdates: true,
    });
    closings.push(() => connection.close());
    const isForbidden = /Permissions Violation/;
    const foreign = 'interlock_key-vault';
    for (const subject of [
      `$JS.API.STREAM.DELETE.${foreign}`,
      `$JS.API.STREAM.PURGE.${foreign}`,
      `$JS.API.STREAM.UPDATE.${foreign}`,
      `$JS.API.STREAM.MSG.GET.${foreign}`,
      `$JS.API.STREAM.DELETE.interlock_disk`,
      `$JS.API.CONSUMER.CREATE.${foreign}.disk_key-vault_0.interlock.key-vault.0`,
      `$JS.API.CONSUMER.MSG.NEXT.${foreign}.disk-encryption-set_key-vault_0`,
      `$JS.API.CONSUMER.DELETE.${foreign}.disk-encryption-set_key-vault_0`,
      `$JS.ACK.${foreign}.disk-encryption-set_key-vault_0.1.1.1.1.0`,
      '$SYS.REQ.SERVER.PING',
    ])
      await assert.rejects(connection.request(subject, '', { timeout: 10_000 }), isForbidden, subject);
    for (const subject of ['interlock.>', '_INBOX_key-vault.>', '>']) {
      const listening = connection.subscribe(subject);
      await assert.rejects(listening[Symbol.asyncIterator]().next(), isForbidden, subject);
    }
  });

  test('a certificate that is renewed and read again is shown to new connections; those that stand go on', async () => {
    const bus = await busOf('compute');
    const session = bus.session();
    const serial = await nats.renewCertificate();
    assert.equal(await shownBy(nats), serial);
    await bus.publish(subjectOf('compute', 1), 'after', bytes('after'));
    assert.equal(bus.session(), session);
    await (await busOf('compute')).publish(subjectOf('compute', 1), 'anew', bytes('anew'));
  });

  test('a server that shows the certificate of a service is none of the cluster', async () => {
    const service = await makeServer(authority, Date.now(), { dns: ['identity'], ip: [] });
    await nats.intrude(service, "Route Error 'Authorization Violation'");
  });

  test('who is not known, shows nothing, or trusts another authority is told so at once', async () => {
    await assert.rejects(busOf('disk', { seed: makeNkey().seed }), /does not know the nkey of NATS_SEED_FILE/);
    await assert.rejects(busOf('disk', { seed: 'SUnot' }), /NATS_SEED_FILE holds no seed of an nkey/);
    const other = join(folder, 'other.crt');
    writeFileSync(other, (await pemOf(await makeAuthority(Date.now()))).certificate);
    await assert.rejects(
      busOf('disk', { caFile: other }),
      /certificate of the NATS server is not trusted.*NATS_CA_FILE/,
    );
    const { seed: _seed, ...bare } = { servers: nats.urls, caFile: nats.caFile, clock, log, seed: undefined };
    await assert.rejects(natsBus(bare), /wants to know who we are: NATS_SEED_FILE is not set/);
  });
});

/** Serial number of the certificate a server shows to a connection made now. */
const shownBy = ({ urls: [url = ''], caFile }: OverlayNats): Promise<string> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const socket = connectTls(
      { host: hostname, port: Number(port), servername: hostname, ca: readFileSync(caFile) },
      () => {
        resolve(socket.getPeerCertificate().serialNumber);
        socket.destroy();
      },
    );
    socket.on('error', reject);
  });
