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
import { until } from '../cloud/until.ts';
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
/** A connection with the rights of a service, and nothing else of it. */
const connectAs = async (service: ServiceName) => {
  const connection = await connect({
    servers: [...nats.urls],
    authenticator: nkeyAuthenticator(new TextEncoder().encode(nats.users[service].seed)),
    tls: { caFile: nats.caFile, handshakeFirst: true },
    inboxPrefix: `_INBOX_${service}`,
    ignoreClusterUpdates: true,
  });
  closings.push(() => connection.close());
  return connection;
};
const bytes = (text: string): Uint8Array => Buffer.from(text);
/** No two messages of this file are one to the server. */
let messageCount = 0;

/** A service at what it does in production. Without a permission it needs it would wait for ever: here that ends it, and says which. */
const userOf = async (service: ServiceName, changes: Partial<NatsBusOptions> = {}) => {
  const denied = Promise.withResolvers<never>();
  const write = (line: string): void => {
    logged.push(line);
    const { event, operation, subject } = JSON.parse(line);
    if (event === 'NATS does not permit that')
      denied.reject(new Error(`NATS does not permit ${service} to ${operation} ${subject}`));
  };
  const bus = await busOf(service, { log: logger({ service: 'test', clock, write }), ...changes });
  const unlessDenied = async (work: (signal: AbortSignal) => Promise<void>): Promise<void> => {
    const ending = new AbortController();
    try {
      await Promise.race([work(ending.signal), denied.promise]);
    } finally {
      ending.abort();
    }
  };
  return {
    /** Tells a fact on each partition and reads it back. */
    tells: () =>
      unlessDenied(async () => {
        for (let partition = 0; partition < partitionCount; partition += 1) {
          const subject = subjectOf(service, partition);
          await bus.publish(subject, `${++messageCount}`, bytes(`${service} ${partition}`));
          assert.equal(Buffer.from((await bus.lastMessage(subject)) ?? []).toString(), `${service} ${partition}`);
        }
      }),
    /** Hears a fact that was told on each partition: refuses it, says that it is at work on it when it comes again, and is done with it. */
    hears: (source: ServiceName) =>
      unlessDenied(async (signal) => {
        for (let partition = 0; partition < partitionCount; partition += 1) {
          const interest = {
            stream: streamOf(source),
            subject: subjectOf(source, partition),
            durable: durableOf(service, source, partition),
            signal,
          };
          for await (const delivery of bus.subscribe(interest)) {
            assert.match(Buffer.from(delivery.bytes).toString(), new RegExp(`^(${source} ${partition}|changed)$`));
            delivery.nak(1);
            if (delivery.deliveryCount < 2) continue;
            delivery.working();
            delivery.ack();
            break;
          }
        }
      }),
  };
};

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
  test('where a server is missing a stream has one copy, and three once the server is there', {
    timeout: 120_000,
  }, async () => {
    const comeBack = await nats.loseOne();
    const connection = await connectAs('disk');
    const copies = async (): Promise<number> => {
      const answer = await connection.request('$JS.API.STREAM.INFO.interlock_disk', '', { timeout: 5_000 });
      return Object(answer.json()).config?.num_replicas;
    };
    const disk = await userOf('disk');
    await until('the two that are left have a leader, and keep what is told', async () => {
      await disk.tells();
      return true;
    });
    assert.equal(await copies(), 1);
    await comeBack();
    await until('the stream has three copies', async () => {
      // Looked at with the next message, and not again for some seconds.
      await disk.tells();
      return (await copies()) === 3;
    });
    assert.ok(logged.some((line) => line.includes('stream has its copies')));
  });

  test('every service tells its facts on each partition and reads back what it told', {
    timeout: 120_000,
  }, async () => {
    for (const service of serviceNames) await (await userOf(service)).tells();
  });

  test('a service whose stream was configured otherwise before changes it', async () => {
    await (await userOf('identity', { streamBytesMax: 64 * 1024 ** 2 })).tells();
  });

  for (const service of serviceNames) {
    test(`${service} hears ${hears[service].join(' and ')} on each partition`, { timeout: 120_000 }, async () => {
      const user = await userOf(service);
      for (const source of hears[service]) await user.hears(source);
    });
  }

  // What this file would say of a permission that is missing: each of them, of one service.
  const consumer = 'interlock_disk-encryption-set.disk_disk-encryption-set_0';
  for (const subject of [
    'interlock.disk.*',
    '$JS.API.STREAM.CREATE.interlock_disk',
    '$JS.API.STREAM.UPDATE.interlock_disk',
    '$JS.API.STREAM.INFO.interlock_disk',
    '$JS.API.STREAM.MSG.GET.interlock_disk',
    `$JS.API.CONSUMER.CREATE.${consumer}.interlock.disk-encryption-set.0`,
    `$JS.API.CONSUMER.INFO.${consumer}`,
    `$JS.API.CONSUMER.MSG.NEXT.${consumer}`,
    `$JS.ACK.${consumer}.>`,
  ]) {
    test(`a service that needs ${subject} and may not do it is told so by name`, { timeout: 60_000 }, async () => {
      await nats.authorize((rendered) => {
        const lines = rendered.split('\n');
        const left = lines.filter((line) => line.trim() !== `"${subject}"`);
        assert.equal(left.length, lines.length - 1);
        return left.join('\n');
      });
      try {
        await (await userOf('disk-encryption-set')).tells();
        const [denied = ''] = subject.split(/[*>]/);
        await assert.rejects(
          async () => {
            // Another size each time: the stream is changed.
            const user = await userOf('disk', { streamBytesMax: 16 * 1024 ** 2 + ++messageCount });
            await user.tells();
            await user.hears('disk-encryption-set');
          },
          (error: Error) => error.message.startsWith(`NATS does not permit disk to publish ${denied}`),
        );
      } finally {
        await nats.authorize((rendered) => rendered);
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
    const connection = await connectAs('disk');
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
