import { createHash } from 'node:crypto';
import { DiskDataServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import type { RewrapRequest } from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import { category, memoryStore, Rejection } from '@interlock/event-store';
import type { Seams } from '@interlock/host';
import {
  connect,
  type Definition,
  type InProcessServer,
  type RpcClient,
  serveInProcess,
  type TokenSource,
  type Workload,
} from '@interlock/rpc';
import { systemClock as clock, createScope, logger, systemRandom as random, type Scope } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { trace } from '@opentelemetry/api';
import { Metadata } from 'nice-grpc';
import { assemble, type DiskSettings } from './assemble.ts';
import type { BlockStore } from './block-store.ts';
import { accessTokenKey } from './data/access-token.ts';
import { type Disk, disks as diskStreams } from './disk/state.ts';
import { leaseDefaults } from './keys/lease.ts';
import type { SetKey } from './keys/set-keys.ts';
import { snapshots as snapshotStreams } from './snapshot/decider.ts';
import { createFaults, type Faults } from './test-fault.ts';
import { memoryVolumeFiles } from './volume/volume-files.ts';

const group = 'subscriptions/s/resourceGroups/g';
export const diskName = `${group}/disks/d`;
export const setName = `${group}/diskEncryptionSets/one`;
export const otherSetName = `${group}/diskEncryptionSets/two`;

/** The disk service alone in memory, beside a vault and sets that are a few lines, with a world that can fail. */
export interface DiskHost {
  readonly faults: Faults;
  /** The service as compute sees it, which may also do what users may; and as sets see it. */
  readonly disks: RpcClient<typeof DiskServiceDefinition>;
  readonly asSets: RpcClient<typeof DiskServiceDefinition>;
  /** Begins direct access. @returns what reads the beginning of the disk with it, as long as it lasts */
  reader(): Promise<(length: number) => Promise<Buffer>>;
  /** Begins direct access. @returns what writes to the beginning of the disk with it, as long as it lasts */
  writer(): Promise<(content: Uint8Array) => Promise<void>>;
  /** Holds up the next unwrap of the vault after it is done. */
  holdUnwrap(): { readonly reached: Promise<void>; release(): void };
  fill(content: Uint8Array): Promise<void>;
  content(length: number, offset?: number): Promise<Buffer>;
  keyOf(set: string): SetKey;
  /** The set names another key version. */
  rotate(set: string): Promise<void>;
  /** The vault loses every version but the newest. */
  forgetKeysBefore(set: string): void;
  volumeIds(): readonly string[];
  /** Volumes that a disk or snapshot refers to. */
  volumesInUse(): Promise<readonly string[]>;
  stateOf(name: string): Promise<Disk>;
  /** As after a crash: what was not flushed is lost by chance, and the service starts on what is left. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts it, with an empty store. */
export const startDiskHost = async (): Promise<DiskHost> => {
  const faults = createFaults();
  const tracer = trace.getTracer('test');
  const realStore = memoryStore({ clock, random });
  const files = memoryVolumeFiles(random);
  const master = random.bytes(32);
  const keys = new Map<string, SetKey>([setName, otherSetName].map((set, n) => [set, newKey(n + 1, 1)]));
  const forgotten = new Set<string>();
  const held: { reach(): void; readonly released: Promise<void> }[] = [];
  const keyOf = (set: string): SetKey => {
    const key = keys.get(set);
    if (!key) throw new Rejection('NOT_FOUND', 'DISK_ENCRYPTION_SET_NOT_FOUND', `${set} does not exist`);
    return key;
  };

  const wrapStore = (answer: unknown): unknown => (isBlockStore(answer) ? faults.wrap(answer) : answer);
  /** Wraps by XOR with a hash of the version's name: enough to tell versions apart. */
  const mix = (keyVersion: string, bytes: Uint8Array): Buffer => {
    if (forgotten.has(keyVersion))
      throw new Rejection('FAILED_PRECONDITION', 'KEY_PURGED', `${keyVersion} is gone`, { access_epoch: '9' });
    const pad = createHash('sha512').update(keyVersion).digest();
    const long = Buffer.concat([pad, createHash('sha512').update(pad).digest()]);
    return Buffer.from(bytes.map((byte, n) => byte ^ (long[n] ?? 0)));
  };
  const neighbours: Record<string, object> = {
    'disk-encryption-set': faults.wrap({
      getDiskEncryptionSet: async ({ name }: { name: string }) => {
        const { principal, keyVersion, generation } = keyOf(name);
        const encryptionType = 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY';
        return { identity: { principal }, activeKey: { keyVersion }, generation, location: 'l', encryptionType };
      },
    }),
    identity: {
      issueManagedIdentityToken: async ({ principal }: { principal: string }) => ({
        accessToken: principal,
        expireTime: new Date(clock.now() + 3_600_000),
      }),
    },
  };
  /** The vault as one identity sees it: the keys of that identity's set can be used, and no others. */
  const vaultAs = ({ token }: Pick<TokenSource, 'token'>) => {
    const mixAs = async (keyVersion: string, bytes: Uint8Array): Promise<Buffer> => {
      const principal = await token('interlock:key-vault');
      if (!belongs(keyVersion, principal))
        throw new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', `${principal} may not use ${keyVersion}`);
      return mix(keyVersion, bytes);
    };
    return faults.wrap({
      checkAccess: async ({ keyVersion }: { keyVersion: string }) => {
        await mixAs(keyVersion, new Uint8Array());
        return { keyVersion, accessEpoch: 1, enabled: true };
      },
      wrapKey: async (request: { name: string; plaintextKey: Uint8Array }) => ({
        wrappedKey: await mixAs(request.name, request.plaintextKey),
      }),
      unwrapKey: async ({ name, wrappedKey }: { name: string; wrappedKey: Uint8Array }) => {
        const plaintextKey = await mixAs(name, wrappedKey);
        const hold = held.shift();
        hold?.reach();
        await hold?.released;
        return { plaintextKey };
      },
      rewrap: async ({ sourceKeyVersion, targetKeyVersion, wrappedKey }: RewrapRequest) => ({
        wrappedKey: await mixAs(targetKeyVersion, await mixAs(sourceKeyVersion, wrappedKey)),
        accessEpoch: 1,
      }),
    });
  };

  let running: { readonly scope: Scope; readonly server: InProcessServer };
  const start = async (): Promise<void> => {
    const scope = createScope();
    const seams = {
      store: faults.wrap(realStore),
      clock,
      random,
      log: logger({ service: 'disk', clock, write: () => undefined }),
      tracer,
      authorize: async () => ({ allowed: true, principalActive: true }),
      forgetPermissions: () => undefined,
      client: (service: string, _definition: unknown, options?: { readonly credentials?: TokenSource }) =>
        service === 'key-vault' && options?.credentials ? vaultAs(options.credentials) : neighbours[service],
      scope,
      settings: {
        masterKey: masterKey(Uint8Array.from(master)),
        files: faults.wrap(files, wrapStore),
        dataAddress: 'here:1',
        snapshotLimits: { perDiskMax: 10, recentMax: 10, recentMs: 1 },
        leases: leaseDefaults,
      },
    };
    // The neighbours have only the methods that are asked here.
    const { services } = await assemble(seams as unknown as Seams<DiskSettings>);
    const authenticate = async (workload: string) =>
      ({ kind: 'workload', workload, id: workload, name: `principals/${workload}`, tenant: 't' }) as const;
    const { authorize, log } = seams;
    const server = serveInProcess({ name: 'disk', services, authenticate, authorize, clock, random, tracer, log });
    running = { scope, server };
  };
  await start();

  const clientAs = <D extends Definition>(workload: Workload, definition: D): RpcClient<D> =>
    connect({
      channel: running.server.channel,
      definition,
      credentials: { token: async () => workload, refused: () => undefined },
      audience: 'interlock:disk',
      clock,
      random,
      tracer,
      defaultDeadlineMs: 60_000,
    });
  const disks = () => clientAs('compute', DiskServiceDefinition);
  const data = () => clientAs('compute', DiskDataServiceDefinition);
  const access = async (accessLevel: 'READ' | 'WRITE') => {
    const { accessToken } = await disks().beginAccess({ name: diskName, accessLevel, durationSeconds: 60 });
    return { metadata: new Metadata({ [accessTokenKey]: accessToken }) };
  };
  const writer: DiskHost['writer'] = async () => {
    const credential = await access('WRITE');
    return async (content) => {
      const requests = (async function* () {
        yield { header: { name: diskName, offsetBytes: 0 }, data: Buffer.from(content) };
      })();
      await data().write(requests, credential);
      await data().flush({ name: diskName }, credential);
    };
  };

  return {
    faults,
    get disks() {
      return disks();
    },
    get asSets() {
      return clientAs('disk-encryption-set', DiskServiceDefinition);
    },
    keyOf,
    async reader() {
      const credential = await access('READ');
      return async (lengthBytes) => {
        const pieces: Buffer[] = [];
        const answers = data().read({ name: diskName, offsetBytes: 0, lengthBytes }, credential);
        for await (const { data: piece } of answers) pieces.push(Buffer.from(piece));
        return Buffer.concat(pieces);
      };
    },
    holdUnwrap() {
      const reached = Promise.withResolvers<void>();
      const released = Promise.withResolvers<void>();
      held.push({ reach: reached.resolve, released: released.promise });
      return { reached: reached.promise, release: released.resolve };
    },
    writer,
    async fill(content) {
      const write = await writer();
      await write(content);
      await disks().endAccess({ name: diskName });
    },
    async content(lengthBytes, offsetBytes = 0) {
      const pieces: Buffer[] = [];
      const answers = data().read({ name: diskName, offsetBytes, lengthBytes }, await access('READ'));
      for await (const { data: piece } of answers) pieces.push(Buffer.from(piece));
      await disks().endAccess({ name: diskName });
      return Buffer.concat(pieces);
    },
    async rotate(set) {
      const { generation } = keyOf(set);
      keys.set(set, newKey(1, generation + 1));
    },
    forgetKeysBefore(set) {
      const { generation } = keyOf(set);
      for (let older = 1; older < generation; older++) forgotten.add(newKey(1, older).keyVersion);
    },
    volumeIds: files.volumeIds,
    async volumesInUse() {
      const disks = await category(realStore, diskStreams).listAll({});
      const snapshots = await category(realStore, snapshotStreams).listAll({});
      return [...disks, ...snapshots].flatMap(({ state }) => ('volume' in state ? [state.volume.volumeId] : [])).sort();
    },
    stateOf: async (name) => (await category(realStore, diskStreams).load(name)).state,
    async restart() {
      running.server.stop();
      await running.scope.close();
      files.crash();
      await start();
    },
    stop: () => running.scope.close(),
  };
};

const principalOf = (n: number | string): string => `principals/0000000${n}-0000-0000-0000-000000000000`;

const newKey = (n: number, generation: number): SetKey => ({
  principal: principalOf(n),
  keyVersion: `vaults/vvv/keys/k${n}/versions/${String(generation).padStart(32, '0')}`,
  generation,
});

/** Whether the key of a version is that of the identity's set. */
const belongs = (keyVersion: string, principal: string): boolean => {
  const [, n = ''] = /\/keys\/k(\d)\//.exec(keyVersion) ?? [];
  return principal === principalOf(n);
};

const isBlockStore = (value: unknown): value is BlockStore =>
  typeof value === 'object' && value !== null && 'copyTo' in value;
