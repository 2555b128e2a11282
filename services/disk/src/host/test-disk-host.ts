import assert from 'node:assert/strict';
import { type Duplex, duplexPair } from 'node:stream';
import { DiskDataServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { DiskEncryptionSetEvent } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set_events.ts';
import { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { type Commit, category, type EventStore, memoryStore, rowKeeper } from '@interlock/event-store';
import type { Seams } from '@interlock/host';
import type { Handlers } from '@interlock/messaging';
import {
  connect,
  type Definition,
  type InProcessServer,
  type RetryPolicy,
  type RpcClient,
  serveInProcess,
  type TokenSource,
  type Workload,
} from '@interlock/rpc';
import { type Clock, createScope, logger, systemRandom as random, type Scope, systemClock } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { createNoopMeter, trace } from '@opentelemetry/api';
import { Metadata } from 'nice-grpc';
import { assemble } from '../assemble.ts';
import { type Disk, disks as diskStreams } from '../disk/state.ts';
import { openStoredHeaders } from '../disk/stored-headers.ts';
import type { DiskSettings } from '../settings.ts';
import type { SnapshotLimits } from '../snapshot/api.ts';
import { type Snapshot, snapshots as snapshotStreams } from '../snapshot/decider.ts';
import { createFaults, type Faults } from '../testing/test-fault.ts';
import { accessTokenKey } from './data/access-token.ts';
import { type DiskHeader, readUnverifiedSlot, type SlotMac } from './header/disk-header-format.ts';
import { type LeaseTerms, leaseDefaults } from './keys/lease.ts';
import { platformKey } from './keys/platform-key.ts';
import { startTestVault, type TestVault } from './keys/test-vault.ts';
import { NbdDoor, type NbdServer } from './nbd/door.ts';
import { threadedNbdServer } from './nbd/thread/threaded.ts';
import type { BlockStore } from './storage/block-store.ts';
import { sectorSize } from './storage/sector.ts';
import { inSteps } from './storage/test-block-store-contract.ts';
import { folderVolumeFiles } from './storage/volume-files.ts';
import { cuttable, type VolumesInMemoryOptions, volumesInMemory } from './test-host-storage.ts';

const group = 'subscriptions/s/resourceGroups/g';
export const diskName = `${group}/disks/d`;
export const setName = `${group}/diskEncryptionSets/one`;
export const otherSetName = `${group}/diskEncryptionSets/two`;

/** Two header slots. */
export type HeaderOnStorage = readonly [Uint8Array | undefined, Uint8Array | undefined];

/** The disk service alone in memory, with fakes of the vault and the sets, and with fault injection. */
export interface DiskHost extends TestVault {
  readonly faults: Faults;
  /** Clients as compute, which also has the rights of users, and as the sets. */
  readonly disks: RpcClient<typeof DiskServiceDefinition>;
  readonly asSets: RpcClient<typeof DiskServiceDefinition>;
  /** A client as compute without retries. */
  clientWithoutRetries<D extends Definition>(definition: D): RpcClient<D>;
  /** Begins direct access. @returns a function that reads the start of the disk while the access lasts */
  reader(): Promise<(length: number) => Promise<Buffer>>;
  /** Begins direct access. @returns a function that writes and flushes at `offset` while the access lasts */
  writer(offset?: number): Promise<(content: Uint8Array) => Promise<void>>;
  fill(content: Uint8Array): Promise<void>;
  content(length: number, offset?: number): Promise<Buffer>;
  /** The key version of every wrap in the header of a disk or snapshot, in both slots. */
  wrapsAtRest(name: string): Promise<readonly string[]>;
  /** Both header slots of a disk or snapshot as stored; undefined for an empty one. */
  headerOf(name: string): Promise<HeaderOnStorage>;
  /** Writes both header slots of a disk or snapshot, as a restore of its volume or an attacker with storage access does. */
  putHeader(name: string, slots: HeaderOnStorage): Promise<void>;
  /** The header of a volume as the store keeps it. */
  storedHeader(volumeId: string): Promise<DiskHeader | undefined>;
  /** The MAC by which this host authenticates the headers of a volume, for tests of an attacker with the master key. */
  slotMac(volumeId: string): SlotMac;
  /** Connects to the NBD door. */
  connectNbd(): Duplex;
  /** Lines of the service's log, JSON each. */
  readonly log: readonly string[];
  /** Publishes a fact of disk encryption sets to the service. */
  publish(type: string, event: Exclude<DiskEncryptionSetEvent['event'], undefined>): Promise<void>;
  /** Stores a commit, as when it arrives after its caller has given up. */
  commit: EventStore['commit'];
  /** The store, for another host beside this one. */
  readonly store: EventStore;
  /** Unique name of this host. */
  readonly name: string;
  volumeIds(): readonly string[];
  /** Volumes that a disk or snapshot refers to. */
  volumesInUse(): Promise<readonly string[]>;
  stateOf(name: string): Promise<Disk>;
  snapshotStateOf(name: string): Promise<Snapshot>;
  /**
   * Cuts this host off from its store and starts another on the same volumes, on another machine. All other methods use the new
   * host from then on. @returns I/O at the first host, with the access it had
   */
  takenOver(): Promise<{ write(content: Uint8Array): Promise<void>; flush(): Promise<void>; reconnect(): void }>;
  /**
   * Restarts the service as after a crash: unflushed data is lost at random.
   * @param how on which machine it starts, by default the same; with `isClean` the service stops first and nothing is lost
   */
  restart(how?: { readonly machine?: string; readonly isClean?: boolean }): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a disk host with an empty store, or with that of another host and volumes of its own. */
export const startDiskHost = async (
  options: VolumesInMemoryOptions & {
    readonly clock?: Clock;
    /** Another host, whose store this one shares. */
    readonly beside?: Pick<DiskHost, 'store'>;
    /** A store with events, in place of an empty one. */
    readonly store?: EventStore;
    /** Unique name of this host; `disk-0` by default. */
    readonly name?: string;
    /** Id of the folder of its volumes; by default it follows from the name. */
    readonly folderId?: string;
    readonly leases?: Partial<LeaseTerms>;
    readonly hostLeaseTtlMs?: number;
    readonly snapshotLimits?: SnapshotLimits;
    /** Keeps the volumes in this folder, and serves NBD from a thread at `nbd.sock` there; by default in memory. */
    readonly folder?: string;
    /** Called with each commit when it is requested. */
    readonly onCommit?: (commit: Commit) => void;
    /** What is stored of a commit, as by an earlier release; by default all of it. */
    readonly storedOf?: (commit: Commit) => Commit;
    /** Called when a commit is stored, before the response. An error that it throws is the response. */
    readonly afterCommit?: () => void;
  } = {},
): Promise<DiskHost> => {
  const { clock = systemClock, name = 'disk-0' } = options;
  const faults = createFaults();
  const tracer = trace.getTracer('test');
  const memory = options.beside?.store ?? options.store ?? memoryStore({ clock });
  const realStore: EventStore = {
    ...memory,
    async commit(commit, cause) {
      options.onCommit?.(commit);
      const committed = await memory.commit(options.storedOf?.(commit) ?? commit, cause);
      options.afterCommit?.();
      return committed;
    },
  };
  const { files, watched } = volumesInMemory(options);
  const master = random.bytes(32);
  const logLines: string[] = [];
  const world = startTestVault({ sets: [setName, otherSetName], clock, faults });
  const wrapStore = (answer: unknown): unknown => (isBlockStore(answer) ? inSteps(faults.wrap(answer)) : answer);

  interface Running {
    readonly scope: Scope;
    readonly server: InProcessServer;
    readonly handlers: Handlers;
    readonly storeLink: { isCut: boolean };
    readonly acceptNbd: (stream: Duplex) => void;
  }
  let running: Running;
  const replaced: Scope[] = [];
  const start = async (machine = 'this'): Promise<void> => {
    const scope = createScope();
    const storeLink = { isCut: false };
    let acceptNbd: Running['acceptNbd'] = () => assert.fail('the NBD door does not listen');
    const inThisThread: NbdServer = {
      address: 'unix:/nbd',
      isThreaded: false,
      async start({ exports, log }) {
        const door = new NbdDoor({ exports, clock, logError: (message, fields) => log.error(message, fields) });
        acceptNbd = (stream) => void door.serve(stream);
        return async () => door.close();
      },
    };
    const { folder } = options;
    const onDisk = folder === undefined ? undefined : folderVolumeFiles(folder);
    if (onDisk) scope.defer('volume files', () => onDisk.close());
    const threaded =
      onDisk &&
      threadedNbdServer(
        { kind: 'unix', path: `${folder}/nbd.sock` },
        { tls: 'plaintext', socketGroup: undefined, advertised: undefined, pathOf: onDisk.pathOfData },
      );
    const store = cuttable(faults.wrap(realStore), storeLink);
    const log = logger({ service: 'disk', clock, write: (line) => logLines.push(line) });
    const seams = {
      store,
      openCategory: rowKeeper({ store, clock, log }).open,
      clock,
      random,
      log,
      tracer,
      meter: createNoopMeter(),
      authorize: async () => ({ allowed: true, principalActive: true }),
      cachedGrant: () => undefined,
      forgetPermissions: () => undefined,
      client: (service: string, _definition: unknown, options?: { readonly credentials?: TokenSource }) =>
        service === 'key-vault' && options?.credentials
          ? world.vaultAs(options.credentials)
          : world.neighbours[service],
      scope,
      settings: {
        masterKey: masterKey(Uint8Array.from(master)),
        files: onDisk ?? faults.wrap(watched, wrapStore),
        dataAddress: 'here:1',
        nbd: threaded ?? inThisThread,
        snapshotLimits: options.snapshotLimits ?? { perDiskMax: 10, recentMax: 10, recentMs: 1 },
        leases: { ...leaseDefaults, ...options.leases },
        host: {
          name,
          folder: options.folderId ?? `volumes of ${name}`,
          machine,
          ttlMs: options.hostLeaseTtlMs ?? 30_000,
        },
      },
    };
    // The fakes have only the methods that are called here.
    const {
      services,
      reactions = [],
      server: ways = {},
    } = await assemble(seams as unknown as Seams<DiskSettings>).catch(async (error: unknown) => {
      await scope.close();
      throw error;
    });
    const authenticate = async (workload: string) =>
      ({ kind: 'workload', workload, id: workload, name: `principals/${workload}`, tenant: 't' }) as const;
    const { authorize } = seams;
    const around = { authenticate, authorize, clock, random, tracer, log };
    const server = serveInProcess({ name: 'disk', services, ...around, deadlineMaxMs: ways.deadlineMaxMs ?? 30_000 });
    running = { scope, server, handlers: reactions[0]?.handlers ?? {}, storeLink, acceptNbd };
  };
  await start();

  const clientAs = <D extends Definition>(workload: Workload, definition: D, retry?: RetryPolicy): RpcClient<D> =>
    connect({
      ...(retry === undefined ? {} : { retry }),
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
  const writer: DiskHost['writer'] = async (offsetBytes = 0) => {
    const credential = await access('WRITE');
    return async (content) => {
      const requests = (async function* () {
        yield { header: { name: diskName, offsetBytes }, data: Buffer.from(content) };
      })();
      await data().write(requests, credential);
      await data().flush({ name: diskName }, credential);
    };
  };

  const volumeOf = async (name: string): Promise<string | undefined> => {
    const isSnapshot = name.includes('/snapshots/');
    const { state } = await (isSnapshot
      ? category(realStore, snapshotStreams).load(name)
      : category(realStore, diskStreams).load(name));
    return 'volume' in state ? state.volume.volumeId : undefined;
  };

  return {
    faults,
    get disks() {
      return disks();
    },
    get asSets() {
      return clientAs('disk-encryption-set', DiskServiceDefinition);
    },
    ...world.control,
    clientWithoutRetries: (definition) =>
      clientAs('compute', definition, { attemptsMax: 1, backoffMs: 0, backoffMsMax: 0 }),
    async reader() {
      const credential = await access('READ');
      return async (lengthBytes) => {
        const pieces: Buffer[] = [];
        const answers = data().read({ name: diskName, offsetBytes: 0, lengthBytes }, credential);
        for await (const { data: piece } of answers) pieces.push(Buffer.from(piece));
        return Buffer.concat(pieces);
      };
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
    async wrapsAtRest(name) {
      const volumeId = await volumeOf(name);
      if (volumeId === undefined) return [];
      return [0, 1].flatMap((slot) => {
        const header = readUnverifiedSlot(files.peek(volumeId, 'header', slot) ?? new Uint8Array(sectorSize));
        return header?.wrap.keyVersion ?? [];
      });
    },
    async headerOf(name) {
      const volumeId = (await volumeOf(name)) ?? '';
      return [files.peek(volumeId, 'header', 0), files.peek(volumeId, 'header', 1)];
    },
    async putHeader(name, slots) {
      const volumeId = (await volumeOf(name)) ?? '';
      for (const [slot, bytes] of slots.entries()) files.poke(volumeId, 'header', slot, bytes);
    },
    storedHeader: openStoredHeaders(realStore).get,
    slotMac: platformKey(masterKey(Uint8Array.from(master)), random).slotMac,
    connectNbd() {
      const [client, server] = duplexPair();
      // A socket copies what it writes. The pair would pass on memory that is reused.
      const { _write: write } = server;
      server._write = (chunk, encoding, done) => write.call(server, Buffer.from(chunk), encoding, done);
      // The other side of a socket notices that this one is closed.
      client.once('close', () => server.destroy());
      running.acceptNbd(server);
      return client;
    },
    log: logLines,
    async publish(type, event) {
      const payload = Buffer.from(DiskEncryptionSetEvent.encode({ event }).finish());
      const handler = running.handlers[type];
      if (!handler) throw new Error(`${type} is not consumed`);
      const cause = { correlationId: 'c', causes: [], caller: 'system:disk-encryption-set' };
      const { signal } = new AbortController();
      const { rows = [] } = await handler(Fact.fromPartial({ type, payload }), { cause, signal });
      if (rows.length > 0) await realStore.commit({ rows }, cause);
    },
    commit: memory.commit,
    store: realStore,
    name,
    volumeIds: files.volumeIds,
    async volumesInUse() {
      const disks = await category(realStore, diskStreams).listAll({});
      const snapshots = await category(realStore, snapshotStreams).listAll({});
      return [...disks, ...snapshots].flatMap(({ state }) => ('volume' in state ? [state.volume.volumeId] : [])).sort();
    },
    stateOf: async (name) => (await category(realStore, diskStreams).load(name)).state,
    snapshotStateOf: async (name) => (await category(realStore, snapshotStreams).load(name)).state,
    async takenOver() {
      const { storeLink, scope } = running;
      const [client, credential] = [data(), await access('WRITE')];
      const write = async (content: Uint8Array) => {
        const requests = (async function* () {
          yield { header: { name: diskName, offsetBytes: 0 }, data: Buffer.from(content) };
        })();
        await client.write(requests, credential);
      };
      storeLink.isCut = true;
      replaced.push(scope);
      await start('other');
      return {
        write,
        flush: async () => void (await client.flush({ name: diskName }, credential)),
        reconnect: () => {
          storeLink.isCut = false;
        },
      };
    },
    async restart({ machine = 'this', isClean = false } = {}) {
      running.server.stop();
      // Before the end of the service, which would flush what is open, and after it.
      if (!isClean) files.crash();
      await running.scope.close();
      if (!isClean) files.crash();
      await start(machine);
    },
    async stop() {
      for (const scope of [running.scope, ...replaced]) await scope.close();
    },
  };
};

const isBlockStore = (value: unknown): value is BlockStore =>
  typeof value === 'object' && value !== null && 'copyTo' in value;
