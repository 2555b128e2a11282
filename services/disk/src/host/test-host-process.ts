import assert from 'node:assert/strict';
import type { Duplex } from 'node:stream';
import { type EventStore, rowKeeper } from '@interlock/event-store';
import type { Seams } from '@interlock/host';
import type { Following, Handlers } from '@interlock/messaging';
import { type InProcessServer, serveInProcess, type TokenSource } from '@interlock/rpc';
import { type Clock, createScope, logger, type Random, type Scope } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { createNoopMeter, type Tracer } from '@opentelemetry/api';
import { assemble } from '../assemble.ts';
import { reactions } from '../reactor.ts';
import type { DiskSettings } from '../settings.ts';
import type { SnapshotLimits } from '../snapshot/api.ts';
import type { Faults } from '../testing/test-fault.ts';
import { type LeaseTerms, leaseDefaults } from './keys/lease.ts';
import { openLossTable } from './keys/set-losses.ts';
import { openOptionTable } from './keys/set-options.ts';
import type { startTestVault } from './keys/test-vault.ts';
import { NbdDoor, type NbdServer } from './nbd/door.ts';
import { threadedNbdServer } from './nbd/thread/threaded.ts';
import type { BlockStore } from './storage/block-store.ts';
import { inSteps } from './storage/test-block-store-contract.ts';
import { folderVolumeFiles, type VolumeFiles } from './storage/volume-files.ts';
import { cuttable } from './test-host-storage.ts';

/** Settings of the processes of one host. */
export interface HostProcessOptions {
  /** Whether it is a host beside others; by default if it shares the store of another host. */
  readonly isOneOfMany?: boolean;
  /** Unique name of this host; `disk-0` by default. */
  readonly name?: string;
  /** Id of the folder of its volumes; by default it follows from the name. */
  readonly folderId?: string;
  readonly leases?: Partial<LeaseTerms>;
  readonly hostLeaseTtlMs?: number;
  readonly snapshotLimits?: SnapshotLimits;
  /** Keeps the volumes in this folder, and serves NBD from a thread at `nbd.sock` there; by default in memory. */
  readonly folder?: string;
}

/** What outlives a process of the host: its store, volumes, master key, log and neighbours. */
export interface HostSurroundings {
  readonly options: HostProcessOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly tracer: Tracer;
  readonly faults: Faults;
  readonly store: EventStore;
  readonly files: VolumeFiles;
  readonly master: Uint8Array;
  /** Lines of its log, JSON each. */
  readonly logLines: string[];
  readonly vault: ReturnType<typeof startTestVault>;
}

/** One process of a disk host, whose server is reached without a network. */
export interface HostProcess {
  readonly scope: Scope;
  readonly server: InProcessServer;
  readonly handlers: Handlers;
  /** Recalls what the consumers of the service have stored. */
  readonly recallFacts: () => Promise<void>;
  /** Whether the process is cut off from its store. */
  readonly storeLink: { isCut: boolean };
  /** Serves a connection at the NBD door. */
  readonly acceptNbd: (stream: Duplex) => void;
}

/** Starts a process on a machine. @throws what its assembly throws, with everything closed */
export const startHostProcess = async (surroundings: HostSurroundings, machine: string): Promise<HostProcess> => {
  const { clock, random, tracer, faults, logLines, vault } = surroundings;
  const scope = createScope();
  const storeLink = { isCut: false };
  const { settings, acceptNbd } = settingsOf(surroundings, scope, machine);
  const store = cuttable(faults.wrap(surroundings.store), storeLink);
  const log = logger({ service: 'disk', clock, write: (line) => logLines.push(line) });
  const authorize = async () => ({ allowed: true, principalActive: true });
  let recallFacts: HostProcess['recallFacts'] = () => assert.fail('the process follows no facts');
  const seams = {
    ...{ store, clock, random, log, tracer, scope, settings, authorize },
    openCategory: rowKeeper({ store, clock, log }).open,
    meter: createNoopMeter(),
    cachedGrant: () => undefined,
    forgetPermissions: () => undefined,
    follow: ({ recall }: Following) => {
      recallFacts = async () => void (await recall(() => true));
      return recallFacts();
    },
    client: (service: string, _definition: unknown, options?: { readonly credentials?: TokenSource }) =>
      service === 'key-vault' && options?.credentials ? vault.vaultAs(options.credentials) : vault.neighbours[service],
  };
  // The fakes have only the methods that are called here.
  const assembled = await assemble(seams as unknown as Seams<DiskSettings>).catch(async (error: unknown) => {
    await scope.close();
    throw error;
  });
  // A host beside others consumes nothing: a control process stores the facts for it.
  const tables = { losses: openLossTable(store), options: openOptionTable(store) };
  const handlersOfControl = reactions({ ...tables, apply: () => undefined, clock });
  const authenticate = async (workload: string) =>
    ({ kind: 'workload', workload, id: workload, name: `principals/${workload}`, tenant: 't' }) as const;
  const server = serveInProcess({
    ...{ name: 'disk', authenticate, authorize, clock, random, tracer, log },
    services: assembled.services,
    deadlineMaxMs: assembled.server?.deadlineMaxMs ?? 30_000,
  });
  const handlers = assembled.reactions?.[0]?.handlers ?? handlersOfControl;
  return { scope, server, handlers, recallFacts, storeLink, acceptNbd };
};

/** Settings of a process, with its volumes and its NBD door. */
const settingsOf = (
  { options, master, faults, files, clock }: HostSurroundings,
  scope: Scope,
  machine: string,
): { readonly settings: DiskSettings; readonly acceptNbd: HostProcess['acceptNbd'] } => {
  const { name = 'disk-0', folder, folderId = `volumes of ${name}`, isOneOfMany = false } = options;
  const onDisk = folder === undefined ? undefined : folderVolumeFiles(folder);
  if (onDisk) scope.defer('volume files', () => onDisk.close());
  const threaded =
    onDisk &&
    threadedNbdServer(
      { kind: 'unix', path: `${folder}/nbd.sock` },
      { tls: 'plaintext', socketGroup: undefined, advertised: undefined, pathOf: onDisk.pathOfData },
    );
  const wrapStore = (answer: unknown): unknown => (isBlockStore(answer) ? inSteps(faults.wrap(answer)) : answer);
  const inThisThread = nbdInThisThread(clock);
  const settings: DiskSettings = {
    masterKey: masterKey(Uint8Array.from(master)),
    files: onDisk ?? faults.wrap(files, wrapStore),
    dataAddress: 'here:1',
    isOneOfMany,
    nbd: threaded ?? inThisThread.server,
    snapshotLimits: options.snapshotLimits ?? { perDiskMax: 10, recentMax: 10, recentMs: 1 },
    leases: { ...leaseDefaults, ...options.leases },
    host: { name, folder: folderId, machine, ttlMs: options.hostLeaseTtlMs ?? 30_000 },
  };
  return { settings, acceptNbd: inThisThread.accept };
};

const isBlockStore = (value: unknown): value is BlockStore =>
  typeof value === 'object' && value !== null && 'readOnce' in value;

/** An NBD door without a socket. */
const nbdInThisThread = (clock: Clock): { readonly server: NbdServer; readonly accept: HostProcess['acceptNbd'] } => {
  let accept: HostProcess['acceptNbd'] = () => assert.fail('the NBD door does not listen');
  return {
    accept: (stream) => accept(stream),
    server: {
      address: 'unix:/nbd',
      isThreaded: false,
      async start({ exports, log }) {
        const door = new NbdDoor({ exports, clock, logError: (message, fields) => log.error(message, fields) });
        accept = (stream) => void door.serve(stream);
        return async () => door.close();
      },
    },
  };
};
