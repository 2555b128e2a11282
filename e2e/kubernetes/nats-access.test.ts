import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { makeAuthority, makeServer, type Pair, pemOf } from '@interlock/local/certificates.ts';
import { consumes, type NatsUser, tails } from '@interlock/local/nats-authorization.ts';
import { makeNkey } from '@interlock/local/nkey.ts';
import { type ServiceName, serviceNames } from '@interlock/local/services.ts';
import {
  durableOf,
  ensureStreams,
  type NatsBusOptions,
  natsBus,
  type StreamSettings,
  streamOf,
  subjectOf,
} from '@interlock/messaging';
import { systemClock as clock, logger } from '@interlock/runtime';
import type { StreamInfo } from '@nats-io/jetstream';
import { connect, nkeyAuthenticator } from '@nats-io/transport-node';
import { natsAuthorizationMap } from '../../deploy/kubernetes/setup/nats-authorization.ts';
import { copiesOf } from '../../libs/messaging/src/stream-watch.ts';
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

/** The bus of a service of that name, as in production. */
const busOf = async (service: ServiceName, changes: Partial<NatsBusOptions> = {}) => {
  const bus = await natsBus({
    servers: nats.urls,
    caFile: nats.caFile,
    seed: nats.users[service].seed,
    inboxPrefix: `_INBOX_${service}`,
    clock,
    log,
    own: { service, replicas: 3 },
    ...changes,
  });
  closings.push(() => bus.close());
  return bus;
};
/**
 * Creates or changes streams once, as the Job of a cluster does, and waits until each has a leader and its copies. A stream that
 * gets more copies has no leader for a moment, and acknowledges nothing then.
 */
const createStreams = async (settings: Partial<StreamSettings> = {}, patienceMs = 60_000): Promise<void> => {
  await ensureStreams(
    {
      servers: nats.urls,
      caFile: nats.caFile,
      seed: nats.users.operator.seed,
      inboxPrefix: '_INBOX_operator',
    },
    { services: serviceNames, replicas: 3, bytesMax: 16 * 1024 ** 2, ...settings },
    { clock, log, patienceMs },
  );
  const operator = await connectAs('operator');
  for (const service of settings.services ?? serviceNames)
    await until(`the stream of ${service} has a leader and its copies`, async () => {
      const subject = `$JS.API.STREAM.INFO.${streamOf(service)}`;
      const info = (await operator.request(subject, '', { timeout: 5_000 })).json<StreamInfo>();
      return info.cluster?.leader !== undefined && copiesOf(info) === info.config.num_replicas;
    });
};
/** A connection with the rights of a user, but without the settings of a service. */
const connectAs = async (service: NatsUser) => {
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
/** Makes the id of each message of this file unique for the server. */
let messageCount = 0;

/** A service as in production. There it waits for a missing permission; here a missing permission is an error. */
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
    /** Publishes a message on each partition until it is acknowledged, as the relay does, and reads it back. */
    tells: () =>
      unlessDenied(async (signal) => {
        for (let partition = 0; partition < partitionCount; partition += 1) {
          const subject = subjectOf(service, partition);
          const id = `${++messageCount}`;
          const last = await until(`${service} reads back what it published`, async () => {
            if (signal.aborted) return bytes('');
            await bus.publish(subject, id, bytes(`${service} ${partition}`));
            return bus.lastMessage(subject);
          });
          assert.equal(Buffer.from(last).toString(), `${service} ${partition}`);
        }
      }),
    /** Checks that its stream is configured correctly. */
    looksAtItsStream: () =>
      unlessDenied(async () => {
        await until('the stream is verified', async () => bus.stream?.().isVerified === true);
      }),
    /** Consumes a fact on each partition: refuses it, reports progress on the redelivery, and acknowledges it. */
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

test('the authorization of the overlays is generated from the tables `consumes` and `tails`, which match the services', () => {
  assert.equal(textOf('deploy/kubernetes/base/nats-authorization.yaml'), natsAuthorizationMap(partitionCount));
  for (const service of serviceNames) {
    const [file = ''] = filesLike(new RegExp(`^services/${service}/src/assemble\\.ts$`));
    const sources = [...textOf(file).matchAll(/\{ source: '([a-z-]+)'/g)].map(([, source]) => source);
    assert.deepEqual([...new Set(sources)].toSorted(), consumes[service].toSorted(), service);
    const followed = [...textOf(file).matchAll(/follow\(\{ source: '([a-z-]+)'/g)].map(([, source]) => source);
    assert.deepEqual(followed, tails[service] ?? [], service);
  }
});

describe('streams on servers with the configuration of the production overlay', () => {
  test('with a server missing, the operator creates no stream with fewer copies, and the error says to start it', {
    timeout: 300_000,
  }, async () => {
    const comeBack = await nats.loseOne();
    // Two servers that are connecting have no leader at first: then there is no response, which is not a refusal.
    await until('the two remaining servers refuse', async () => {
      const refusal = await createStreams({}, 0).catch((error: Error) => error.message);
      return /stream interlock_identity needs 3 copies \(NATS_STREAM_REPLICAS\).*start the missing server/.test(
        String(refusal),
      );
    });
    const disk = await busOf('disk');
    await until('the service says that its stream is missing', async () =>
      /NATS has no stream interlock_disk; an operator/.test(disk.stream?.().problem ?? ''),
    );
    assert.equal(disk.stream?.().isVerified, false);
    await comeBack();
    await createStreams({}, 60_000);
    await until('the stream has three copies', async () => disk.stream?.().copies === 3);
    assert.deepEqual(disk.stream?.(), { copies: 3, copiesWanted: 3, problem: '', isVerified: true });
  });

  test('reports a missing copy when a server ends later, and a problem when a stream is configured for fewer copies', {
    timeout: 300_000,
  }, async () => {
    const comeBack = await nats.loseOne();
    const disk = await busOf('disk');
    await until('a copy is missing', async () => disk.stream?.().copies === 2);
    assert.deepEqual(disk.stream?.(), { copies: 2, copiesWanted: 3, problem: '', isVerified: true });
    await comeBack();
    await until('the stream has three copies', async () => disk.stream?.().copies === 3);
    await createStreams({ services: ['disk'], replicas: 1 });
    const single = await busOf('disk');
    await until('the stream is configured for fewer copies', async () =>
      /is configured for 1 copies instead of 3/.test(single.stream?.().problem ?? ''),
    );
    assert.deepEqual([single.stream?.().copies, single.stream?.().isVerified], [1, false]);
    await createStreams();
  });

  test('every service publishes facts on each partition and reads them back', {
    timeout: 300_000,
  }, async () => {
    for (const service of serviceNames) await (await userOf(service)).tells();
  });

  test('the operator changes a stream with other settings, and can do nothing else', async () => {
    await createStreams({ services: ['identity'], bytesMax: 64 * 1024 ** 2 });
    const operator = await connectAs('operator');
    const answer = await operator.request('$JS.API.STREAM.INFO.interlock_identity', '', { timeout: 5_000 });
    assert.equal(Object(answer.json()).config?.max_bytes, 64 * 1024 ** 2);
    for (const subject of [
      'interlock.key-vault.0',
      '$JS.API.STREAM.DELETE.interlock_identity',
      '$JS.API.STREAM.CREATE.other',
      '$JS.API.STREAM.MSG.GET.interlock_identity',
      '$JS.API.CONSUMER.CREATE.interlock_identity.operator.interlock.identity.0',
      '$JS.API.STREAM.NAMES',
    ])
      await assert.rejects(operator.request(subject, '', { timeout: 10_000 }), /Permissions Violation/, subject);
  });
});

describe('permissions of a service', () => {
  for (const service of serviceNames) {
    test(`${service} consumes ${consumes[service].join(' and ')} on each partition`, { timeout: 300_000 }, async () => {
      const user = await userOf(service);
      for (const source of consumes[service]) await user.hears(source);
    });
  }

  test('G1: every disk host receives the facts of disk encryption sets as they are published, and no others', {
    timeout: 60_000,
  }, async () => {
    const [source, one, other] = [await busOf('disk-encryption-set'), await busOf('disk'), await busOf('disk')];
    const ending = new AbortController();
    const received: string[][] = [[], []];
    const reading = [one, other].map(async (bus, n) => {
      for await (const { bytes } of bus.tail(subjectOf('disk-encryption-set', 1), ending.signal))
        received[n]?.push(Buffer.from(bytes).toString());
    });
    try {
      await until('both hosts receive a fact', async () => {
        const id = `${++messageCount}`;
        await source.publish(subjectOf('disk-encryption-set', 1), id, bytes('disk-encryption-set 1'));
        return received.every(({ length }) => length > 0);
      });
    } finally {
      ending.abort();
      await Promise.all(reading);
    }
    for (const service of serviceNames) {
      const connection = await connectAs(service);
      for (const owner of serviceNames) {
        const isPermitted = service === 'disk' && owner === 'disk-encryption-set';
        for (const partition of ['*', '>', ...(isPermitted ? [`${partitionCount}`] : ['0'])]) {
          const listening = connection.subscribe(`interlock.${owner}.${partition}`);
          await assert.rejects(
            listening[Symbol.asyncIterator]().next(),
            /Permissions Violation/,
            `${service} of ${owner}.${partition}`,
          );
        }
      }
    }
  });

  // How each missing permission of one service shows in this file.
  const consumer = 'interlock_disk-encryption-set.disk_disk-encryption-set_0';
  for (const subject of [
    'interlock.disk.0',
    '$JS.API.STREAM.INFO.interlock_disk',
    '$JS.API.STREAM.MSG.GET.interlock_disk',
    `$JS.API.CONSUMER.CREATE.${consumer}.interlock.disk-encryption-set.0`,
    `$JS.API.CONSUMER.INFO.${consumer}`,
    `$JS.API.CONSUMER.MSG.NEXT.${consumer}`,
    `$JS.ACK.${consumer}.>`,
  ]) {
    test(`a service without permission for ${subject} gets an error that names it`, { timeout: 60_000 }, async () => {
      await nats.authorize((rendered) => {
        const lines = rendered.split('\n');
        // The operator may read the state of every stream, and comes before the services.
        const at = lines.findLastIndex((line) => line.trim() === `"${subject}"`);
        assert.notEqual(at, -1);
        return lines.toSpliced(at, 1).join('\n');
      });
      try {
        await (await userOf('disk-encryption-set')).tells();
        const [denied = ''] = subject.split(/[*>]/);
        await assert.rejects(
          async () => {
            const user = await userOf('disk');
            await user.looksAtItsStream();
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
});

describe('G3: permissions of a service end at its own facts', () => {
  test('G3: no service can publish facts of another, or read responses for it', async () => {
    for (const service of serviceNames) {
      const bus = await busOf(service);
      for (const other of serviceNames.filter((one) => one !== service))
        await assert.rejects(bus.publish(subjectOf(other, 0), 'forged', bytes('forged')), /ermission|timeout/i);
    }
    const last = await (await busOf('key-vault')).lastMessage(subjectOf('key-vault', 0));
    assert.equal(Buffer.from(last ?? []).toString(), 'key-vault 0', 'nothing forged arrived');
    // A service receives no response on the inbox of another either.
    const listener = await busOf('disk', { inboxPrefix: '_INBOX_key-vault' });
    await assert.rejects(listener.lastMessage(subjectOf('disk', 0)));
    assert.ok(logged.some((line) => line.includes('NATS does not permit that')));
  });

  test("G3: no service can republish its stream as facts of another, or copy another's stream into its own", async () => {
    const disk = await connectAs('disk');
    const keyVault = await busOf('key-vault');
    await keyVault.publish(subjectOf('key-vault', 0), `${++messageCount}`, bytes('key-vault 0'));
    const stream = {
      name: 'interlock_disk',
      subjects: ['interlock.disk.*'],
      num_replicas: 3,
      max_bytes: 16 * 1024 ** 2,
    };
    for (const change of [
      { republish: { src: 'interlock.disk.3', dest: 'interlock.key-vault.0' } },
      { sources: [{ name: 'interlock_key-vault' }] },
      { subject_transform: { src: 'interlock.disk.3', dest: 'interlock.key-vault.0' } },
      { subjects: ['interlock.disk.*', 'interlock.key-vault.*'] },
      { mirror: { name: 'interlock_key-vault' } },
    ])
      for (const call of ['UPDATE', 'CREATE'])
        await assert.rejects(
          disk.request(`$JS.API.STREAM.${call}.interlock_disk`, JSON.stringify({ ...stream, ...change }), {
            timeout: 10_000,
          }),
          /Permissions Violation/,
          `${call} with ${Object.keys(change)}`,
        );
    // The first change would have copied this message to the subject of another service.
    await disk.request(subjectOf('disk', 3), 'forged', { timeout: 5_000 });
    const last = await keyVault.lastMessage(subjectOf('key-vault', 0));
    assert.equal(Buffer.from(last ?? []).toString(), 'key-vault 0');
    const operator = await connectAs('operator');
    const info = await operator.request('$JS.API.STREAM.INFO.interlock_disk', '', { timeout: 5_000 });
    const { config } = Object(info.json());
    assert.deepEqual([config.republish, config.sources, config.subjects], [undefined, undefined, ['interlock.disk.*']]);
  });
});

describe('G3: permissions of a service end at its own consumers', () => {
  test('G3: a service can create a consumer only under its own name for its one subject', async () => {
    const disk = await connectAs('disk');
    const stream = 'interlock_disk-encryption-set';
    const durable = 'disk_disk-encryption-set_0';
    const subject = 'interlock.disk-encryption-set.0';
    const config = { durable_name: durable, name: durable, ack_policy: 'explicit', filter_subject: subject };
    const create = (call: string, change: object = {}) =>
      disk.request(
        `$JS.API.CONSUMER.${call}`,
        JSON.stringify({ stream_name: stream, config: { ...config, ...change } }),
        {
          timeout: 10_000,
        },
      );
    for (const call of [
      `CREATE.${stream}`,
      `CREATE.${stream}.${durable}`,
      `CREATE.${stream}.${durable}.interlock.disk-encryption-set.*`,
      `CREATE.${stream}.${durable}.interlock.disk-encryption-set.1`,
      `CREATE.${stream}.other.${subject}`,
      `CREATE.${stream}.compute_disk-encryption-set_0.${subject}`,
      `DURABLE.CREATE.${stream}.${durable}`,
    ])
      await assert.rejects(create(call), /Permissions Violation/, call);
    // The server compares the subject of the request, to which permissions apply, with the configuration in its body.
    for (const change of [
      { filter_subject: 'interlock.disk-encryption-set.1' },
      { filter_subject: '' },
      { filter_subject: undefined, filter_subjects: ['interlock.disk-encryption-set.*'] },
      { filter_subjects: ['interlock.disk-encryption-set.*'] },
      { name: 'other', durable_name: 'other' },
    ]) {
      const answer = await create(`CREATE.${stream}.${durable}.${subject}`, change);
      assert.ok(Object(answer.json()).error, JSON.stringify(change));
    }
  });

  test("G3: no service can consume another's messages, delete any, or subscribe to other subjects", async () => {
    const connection = await connectAs('disk');
    const isForbidden = /Permissions Violation/;
    const foreign = 'interlock_key-vault';
    const own = 'interlock_disk';
    const perStream = [
      ...['DELETE', 'PURGE', 'SNAPSHOT', 'RESTORE', 'MSG.DELETE', 'LEADER.STEPDOWN', 'PEER.REMOVE'].map(
        (call) => `STREAM.${call}`,
      ),
      'DIRECT.GET',
      'CONSUMER.NAMES',
      'CONSUMER.LIST',
    ];
    for (const subject of [
      ...[own, foreign].flatMap((stream) => perStream.map((call) => `$JS.API.${call}.${stream}`)),
      ...['UPDATE', 'CREATE', 'INFO', 'MSG.GET'].map((call) => `$JS.API.STREAM.${call}.${foreign}`),
      `$JS.API.DIRECT.GET.${own}.interlock.disk.0`,
      '$JS.API.STREAM.NAMES',
      '$JS.API.STREAM.LIST',
      '$JS.API.INFO',
      `$JS.API.CONSUMER.CREATE.${foreign}.disk_key-vault_0.interlock.key-vault.0`,
      `$JS.API.CONSUMER.CREATE.${own}.disk_disk_0.interlock.disk.0`,
      `$JS.API.CONSUMER.MSG.NEXT.${foreign}.disk-encryption-set_key-vault_0`,
      `$JS.API.CONSUMER.DELETE.${foreign}.disk-encryption-set_key-vault_0`,
      '$JS.API.CONSUMER.DELETE.interlock_disk-encryption-set.disk_disk-encryption-set_0',
      `$JS.ACK.${foreign}.disk-encryption-set_key-vault_0.1.1.1.1.0`,
      '$SYS.REQ.SERVER.PING',
      'interlock.disk.4',
    ])
      await assert.rejects(connection.request(subject, '', { timeout: 10_000 }), isForbidden, subject);
    for (const subject of ['interlock.>', '_INBOX_key-vault.>', '>']) {
      const listening = connection.subscribe(subject);
      await assert.rejects(listening[Symbol.asyncIterator]().next(), isForbidden, subject);
    }
  });
});

describe('certificates and users', () => {
  test('new connections get a renewed certificate; open connections continue', async () => {
    const bus = await busOf('compute');
    const session = bus.session();
    const serial = await nats.renewCertificate();
    assert.equal(await shownBy(nats), serial);
    await bus.publish(subjectOf('compute', 1), 'after', bytes('after'));
    assert.equal(bus.session(), session);
    await (await busOf('compute')).publish(subjectOf('compute', 1), 'again', bytes('again'));
  });

  test('a server with the certificate of a service cannot join the cluster', async () => {
    const service = await makeServer(authority, Date.now(), { dns: ['identity'], ip: [] });
    await nats.intrude(service, "Route Error 'Authorization Violation'");
  });

  test('refuses an unknown user, one without a valid key, and one that trusts another authority, at once', async () => {
    await assert.rejects(busOf('disk', { seed: makeNkey().seed }), /does not know the nkey of NATS_SEED_FILE/);
    await assert.rejects(busOf('disk', { seed: 'SUnot' }), /NATS_SEED_FILE does not contain the seed of an nkey/);
    const other = join(folder, 'other.crt');
    writeFileSync(other, (await pemOf(await makeAuthority(Date.now()))).certificate);
    await assert.rejects(
      busOf('disk', { caFile: other }),
      /certificate of the NATS server is not trusted.*NATS_CA_FILE/,
    );
    const { seed: _seed, ...bare } = { servers: nats.urls, caFile: nats.caFile, clock, log, seed: undefined };
    await assert.rejects(natsBus(bare), /requires authentication: set NATS_SEED_FILE/);
  });
});

/** Serial number of the certificate that a server presents to a new connection. */
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
