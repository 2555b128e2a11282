import assert from 'node:assert/strict';
import type { DiskHostServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { type Loaded, Rejection } from '@interlock/event-store';
import type { PeerProcess } from '@interlock/host';
import type { Call, RpcClient } from '@interlock/rpc';
import { logger, type VirtualClock, virtualClock } from '@interlock/runtime';
import { hashOf, type KnownHost } from '../fleet/known-host.ts';
import type { SetClient } from '../host/keys/set-keys.ts';
import { HostLinks } from './host-links.ts';
import { type RoutedParts, routedApi } from './routed-api.ts';
import { Router } from './router.ts';

type Methods = Partial<RpcClient<typeof DiskServiceDefinition> & RpcClient<typeof DiskHostServiceDefinition>>;

/** A disk host as a control process sees it. */
export interface FakeHost extends Partial<Omit<KnownHost, 'name'>> {
  readonly methods?: Methods;
  /** Whether it responds to probes; by default it does. */
  readonly responds?: boolean | (() => boolean);
}

/** A control process over fake hosts and fake records. */
export interface FakeFleet {
  readonly clock: VirtualClock;
  readonly router: Router;
  /** Virtual time passes while one of its calls waits. */
  readonly api: ReturnType<typeof routedApi>;
  /** The same methods; the caller lets time pass. */
  readonly served: ReturnType<typeof routedApi>;
  /** Moves a disk or snapshot, as another process does; absent: it does not exist any more. */
  put(name: string, host: string | undefined): void;
  /** How often the hosts were read, and the names whose rows were read. */
  readonly reads: { count: number; readonly rows: string[] };
}

/** The call of a user. */
export const call = {
  token: 'of the user',
  cause: { correlationId: 'c', causes: [], caller: 'principals/user' },
  remainingMs: () => 30_000,
  signal: new AbortController().signal,
} as unknown as Call;

/** A refusal of a host. */
export const refusal = (
  reason: string,
  code: ConstructorParameters<typeof Rejection>[0] = 'FAILED_PRECONDITION',
): Rejection => new Rejection(code, reason, reason);

/** A response that never comes. The call ends when its signal is aborted. */
export const silence = (_request: unknown, options?: { readonly signal?: AbortSignal }): Promise<never> =>
  new Promise((_resolve, reject) => {
    options?.signal?.addEventListener('abort', () => reject(new Error('aborted')));
  });

/**
 * Starts a control process over these hosts.
 * @param disks host by full name of disk or snapshot
 * @param spreadSets full names of the sets that spread their disks
 */
export const fakeFleet = (
  hosts: Readonly<Record<string, FakeHost>>,
  disks: Readonly<Record<string, string>> = {},
  spreadSets: ReadonlySet<string> = new Set(),
): FakeFleet => {
  const clock = virtualClock();
  const places = new Map(Object.entries(disks));
  const reads: FakeFleet['reads'] = { count: 0, rows: [] };
  const known = (): readonly KnownHost[] =>
    Object.entries(hosts).map(([name, { methods: _, responds: __, ...host }]) => ({
      name,
      nameHash: hashOf(name),
      status: 'open',
      isServing: true,
      volumeCount: 0,
      lease: { epoch: 1, holder: 'h', machine: 'm', ttlMs: 30_000, isReleased: false, grpcAddress: name },
      ...host,
    }));
  const processAt = (address: string): PeerProcess => {
    const { methods = {}, responds = true } = hosts[address] ?? assert.fail(`no host at ${address}`);
    return {
      client: <Client>() => methods as Client,
      responds: async (withinMs) => {
        const isThere = typeof responds === 'function' ? responds() : responds;
        if (!isThere) await clock.sleep(withinMs);
        return isThere;
      },
      close: () => undefined,
    };
  };
  const fleet = {
    list: known,
    refresh: async () => {
      reads.count += 1;
    },
  };
  const links = new HostLinks({ fleet, connectTo: (_service, address) => processAt(address), clock });
  const records = {
    loadMany: async (names: readonly string[]) => {
      reads.rows.push(...names);
      return names.map((id): Loaded<{ status: 'absent' } | { status: string; host: string }> => {
        const host = places.get(id);
        return { id, version: 1, state: host === undefined ? { status: 'absent' } : { status: 'active', host } };
      });
    },
  };
  const router = new Router({ links, records: { disks: records, snapshots: records }, clock });
  const withoutHost: RoutedParts['withoutHost'] = {
    async closeDisks(host, closings) {
      return closings.map(({ name }) => ({
        answer: { outcome: { $case: 'closed', value: {} }, event: `without ${host}: ${name}` },
      }));
    },
    detachDisk: async (host, { name }) => Disk.create({ name, diskHost: `without ${host}` }),
  };
  const sets = {
    getDiskEncryptionSet: async ({ name = '' }) => ({ spread: spreadSets.has(name) }),
  } as unknown as SetClient;
  const log = logger({ service: 'test', clock, write: () => undefined });
  const served = routedApi({ router, links, withoutHost, sets, log });
  return {
    clock,
    router,
    reads,
    api: driven(served, clock),
    served,
    put: (name, host) => void (host === undefined ? places.delete(name) : places.set(name, host)),
  };
};

/** The same methods; virtual time passes while one of their calls waits. */
const driven = <Api extends object>(api: Api, clock: VirtualClock): Api =>
  Object.fromEntries(
    Object.entries(api).map(([name, method]) => [
      name,
      (...args: unknown[]) => clock.drive(Promise.resolve(Reflect.apply(method, api, args))),
    ]),
  ) as Api;
