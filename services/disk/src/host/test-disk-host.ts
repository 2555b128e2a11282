import { type Duplex, duplexPair } from 'node:stream';
import { DiskDataServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { DiskEncryptionSetEvent } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set_events.ts';
import { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { type Commit, type EventStore, memoryStore } from '@interlock/event-store';
import { connect, type Definition, type RetryPolicy, type RpcClient, type Workload } from '@interlock/rpc';
import { type Clock, systemRandom as random, type Scope, systemClock } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { trace } from '@opentelemetry/api';
import { createFaults, type Faults } from '../testing/test-fault.ts';
import type { SlotMac } from './header/disk-header-format.ts';
import { platformKey } from './keys/platform-key.ts';
import { startTestVault, type TestVault } from './keys/test-vault.ts';
import { beginAccess, contentOf, type HostContent, writeOf } from './test-host-content.ts';
import {
  type HostProcess,
  type HostProcessOptions,
  type HostSurroundings,
  startHostProcess,
} from './test-host-process.ts';
import { type StoredDisks, storedDisks, type VolumesInMemoryOptions, volumesInMemory } from './test-host-storage.ts';

const group = 'subscriptions/s/resourceGroups/g';
export const diskName = `${group}/disks/d`;
export const setName = `${group}/diskEncryptionSets/one`;
export const otherSetName = `${group}/diskEncryptionSets/two`;

/** The disk service alone in memory, with fakes of the vault and the sets, and with fault injection. */
export interface DiskHost extends TestVault, HostContent, StoredDisks, HostRestarts {
  readonly faults: Faults;
  /** Clients as compute, which also has the rights of users, and as the sets. */
  readonly disks: RpcClient<typeof DiskServiceDefinition>;
  readonly asSets: RpcClient<typeof DiskServiceDefinition>;
  /** A client as compute without retries. */
  clientWithoutRetries<D extends Definition>(definition: D): RpcClient<D>;
  /** The MAC by which this host authenticates the headers of a volume, for tests of an attacker with the master key. */
  slotMac(volumeId: string): SlotMac;
  /** Connects to the NBD door. */
  connectNbd(): Duplex;
  /** Lines of the service's log, JSON each. */
  readonly log: readonly string[];
  /** Publishes a fact of disk encryption sets to the service. */
  publish(type: string, event: Exclude<DiskEncryptionSetEvent['event'], undefined>): Promise<void>;
  /** Recalls the facts that were published to another host, as after a gap in the messages. */
  recallFacts(): Promise<void>;
  /** Stores a commit, as when it arrives after its caller has given up. */
  commit: EventStore['commit'];
  /** The store, for another host beside this one. */
  readonly store: EventStore;
  /** Unique name of this host. */
  readonly name: string;
}

/** How the processes of a host end and follow each other. */
interface HostRestarts {
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

/** What a test decides about the store of a host. */
interface HostStoreOptions {
  readonly clock?: Clock;
  /** Another host, whose store this one shares. */
  readonly beside?: Pick<DiskHost, 'store'>;
  /** A store with events, in place of an empty one. */
  readonly store?: EventStore;
  /** Called with each commit when it is requested. */
  readonly onCommit?: (commit: Commit) => void;
  /** What is stored of a commit, as by an earlier release; by default all of it. */
  readonly storedOf?: (commit: Commit) => Commit;
  /** Called when a commit is stored, before the response. An error that it throws is the response. */
  readonly afterCommit?: () => void;
}

/** Starts a disk host with an empty store, or with that of another host and volumes of its own. */
export const startDiskHost = async (
  options: VolumesInMemoryOptions & HostStoreOptions & HostProcessOptions = {},
): Promise<DiskHost> => {
  const { clock = systemClock, name = 'disk-0' } = options;
  const faults = createFaults();
  const memory = options.beside?.store ?? options.store ?? memoryStore({ clock });
  const store = watchedStore(memory, options);
  const { files, watched } = volumesInMemory(options);
  const vault = startTestVault({ sets: [setName, otherSetName], clock, faults });
  const surroundings: HostSurroundings = {
    options: { isOneOfMany: options.beside !== undefined, ...options },
    ...{ clock, random, faults, store, vault },
    tracer: trace.getTracer('test'),
    files: watched,
    master: random.bytes(32),
    logLines: [],
  };
  const processes = await startProcesses(surroundings, files.crash);
  const { running, clientAs } = processes;
  let factCount = 0;
  const disks = () => clientAs('compute', DiskServiceDefinition);
  const data = () => clientAs('compute', DiskDataServiceDefinition);
  return {
    ...vault.control,
    ...contentOf({ disk: diskName, disks, data }),
    ...storedDisks(store, files),
    ...processes,
    ...{ faults, store, name, log: surroundings.logLines, commit: memory.commit },
    get disks() {
      return disks();
    },
    get asSets() {
      return clientAs('disk-encryption-set', DiskServiceDefinition);
    },
    clientWithoutRetries: (definition) =>
      clientAs('compute', definition, { attemptsMax: 1, backoffMs: 0, backoffMsMax: 0 }),
    slotMac: platformKey(masterKey(Uint8Array.from(surroundings.master)), random).slotMac,
    connectNbd: () => connected(running().acceptNbd),
    recallFacts: () => running().recallFacts(),
    async publish(type, event) {
      const payload = Buffer.from(DiskEncryptionSetEvent.encode({ event }).finish());
      const handler = running().handlers[type];
      if (!handler) throw new Error(`${type} is not consumed`);
      const cause = { correlationId: 'c', causes: [], caller: 'system:disk-encryption-set' };
      const { signal } = new AbortController();
      factCount += 1;
      const place = { stream: `set-${setName}`, version: factCount, position: factCount };
      const { rows = [] } = await handler(Fact.fromPartial({ type, payload, ...place }), { cause, signal });
      if (rows.length > 0) await store.commit({ rows }, cause);
    },
  };
};

/** A store that a test watches and changes. */
const watchedStore = (store: EventStore, options: HostStoreOptions): EventStore => ({
  ...store,
  async commit(commit, cause) {
    options.onCommit?.(commit);
    const committed = await store.commit(options.storedOf?.(commit) ?? commit, cause);
    options.afterCommit?.();
    return committed;
  },
});

/** Starts the first process of a host. `running` is the one that clients reach. @param crash loses unflushed data of the volumes */
const startProcesses = async (surroundings: HostSurroundings, crash: () => void) => {
  const { clock, random, tracer } = surroundings;
  let running = await startHostProcess(surroundings, 'this');
  const replaced: Scope[] = [];
  const clientAs = <D extends Definition>(workload: Workload, definition: D, retry?: RetryPolicy): RpcClient<D> =>
    connect({
      ...{ definition, clock, random, tracer },
      ...(retry === undefined ? {} : { retry }),
      channel: running.server.channel,
      credentials: { token: async () => workload, refused: () => undefined },
      audience: 'interlock:disk',
      defaultDeadlineMs: 60_000,
    });
  const restarts: HostRestarts = {
    async takenOver() {
      const { storeLink, scope } = running;
      const disks = () => clientAs('compute', DiskServiceDefinition);
      const client = clientAs('compute', DiskDataServiceDefinition);
      const access = await beginAccess({ disk: diskName, disks }, 'WRITE');
      storeLink.isCut = true;
      replaced.push(scope);
      running = await startHostProcess(surroundings, 'other');
      return {
        write: async (content) => void (await client.write(writeOf(diskName, content), access)),
        flush: async () => void (await client.flush({ name: diskName }, access)),
        reconnect: () => {
          storeLink.isCut = false;
        },
      };
    },
    async restart({ machine = 'this', isClean = false } = {}) {
      running.server.stop();
      // Before the end of the service, which would flush what is open, and after it.
      if (!isClean) crash();
      await running.scope.close();
      if (!isClean) crash();
      running = await startHostProcess(surroundings, machine);
    },
    async stop() {
      for (const scope of [running.scope, ...replaced]) await scope.close();
    },
  };
  return { ...restarts, clientAs, running: () => running };
};

/** Connects a stream to a server. @returns the side of the client */
const connected = (accept: HostProcess['acceptNbd']): Duplex => {
  const [client, server] = duplexPair();
  // A socket copies what it writes. The pair would pass on memory that is reused.
  const { _write: write } = server;
  server._write = (chunk, encoding, done) => write.call(server, Buffer.from(chunk), encoding, done);
  // The other side of a socket notices that this one is closed.
  client.once('close', () => server.destroy());
  accept(server);
  return client;
};
