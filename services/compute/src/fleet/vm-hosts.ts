import type { Category } from '@interlock/event-store';
import { names, outsideOfCalls } from '@interlock/rpc';
import {
  ageMs,
  type Clock,
  type ClockReading,
  failureLog,
  type Logger,
  readingOf,
  waitedOutMs,
} from '@interlock/runtime';
import { limiter } from '../limiter.ts';
import type { FleetVmHost, RegisteredVmHost } from './decider.ts';
import type { VmHostEvent } from './events.ts';
import { machinesAt } from './machines.ts';
import type { Renewal, Renewals } from './renewals.ts';

/** When VM hosts that do not renew are unreachable, and when lost. */
export interface VmHostTerms {
  /** A host serves for so long after a renewal, in milliseconds. */
  readonly ttlMs: number;
  /** A host that has not renewed for so long is lost, in milliseconds. */
  readonly lostMs: number;
}

/** A restart takes seconds, and a node that is replaced minutes: its machines are started elsewhere only after that. */
export const vmHostTermsDefault: VmHostTerms = { ttlMs: 15_000, lostMs: 300_000 };

/** A VM host as this process knows it. */
export interface KnownVmHost {
  /** Short: `vm-host-0`. */
  readonly name: string;
  readonly status: RegisteredVmHost['status'];
  /** Whether it renews, as far as this process has seen; a lost one does not serve. */
  readonly isServing: boolean;
  /** Whether its process ends soon: it gets no machine, and those that are there move. */
  readonly isLeaving: boolean;
  /** `host:port` at which it is reached; `''` before this process has seen a renewal. */
  readonly address: string;
  readonly zone: string;
  /** Most guests that it takes. */
  readonly capacity: number;
  /** Machines that are on there, as counted last. */
  readonly machineCount: number;
}

/** The VM hosts, for what calls them and for what chooses one. */
export interface VmHosts {
  /** Every registered host, in order of names, as this process knows them. */
  list(): readonly KnownVmHost[];
  /** @param name full @throws Rejection INVALID_ARGUMENT NAME_INVALID */
  find(name: string): KnownVmHost | undefined;
  /** Reads now. */
  refresh(): Promise<void>;
}

/** A renewal as this process saw it first. */
interface SeenRenewal {
  readonly renewal: Renewal;
  readonly at: ClockReading;
}

/** Hosts whose machines are counted at once. */
const countsMax = 8;

/**
 * The VM hosts as this process reads them from the store. A renewal counts from when this process saw it first, by its own clock: the
 * clocks of other machines decide nothing. While this process cannot read, no time passes for any host: it may be the only one that
 * is cut off.
 */
export class VmHostFleet implements VmHosts {
  readonly #hosts: Pick<Category<FleetVmHost, VmHostEvent>, 'listAll'>;
  readonly #renewals: Pick<Renewals, 'readMany'>;
  readonly #countAt: (host: string) => Promise<number>;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #ttlMs: number;
  readonly #counting = limiter(countsMax);
  #known: readonly KnownVmHost[] = [];
  /** By short name. */
  readonly #seen = new Map<string, SeenRenewal>();
  #readAt: ClockReading | undefined;

  constructor(parts: {
    readonly hosts: Pick<Category<FleetVmHost, VmHostEvent>, 'listAll'>;
    readonly renewals: Pick<Renewals, 'readMany'>;
    readonly vms: Parameters<typeof machinesAt>[0];
    readonly clock: Clock;
    readonly log: Logger;
    readonly ttlMs: number;
  }) {
    this.#hosts = parts.hosts;
    this.#renewals = parts.renewals;
    this.#countAt = (host) => machinesAt(parts.vms, host).count();
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#ttlMs = parts.ttlMs;
  }
  /**
   * Reads the hosts, and again each `periodMs` until `signal` is aborted.
   * @throws StoreUnavailable if the first reading fails
   */
  async watch(periodMs: number, signal: AbortSignal): Promise<void> {
    await this.refresh();
    const readings = failureLog({
      log: this.#log,
      clock: this.#clock,
      failing: 'the VM hosts cannot be read',
      back: 'the VM hosts are read again',
    });
    outsideOfCalls(async () => {
      for (;;) {
        await this.#clock.sleep(periodMs, signal);
        if (signal.aborted) return;
        await this.refresh().then(readings.succeeded, readings.failed);
      }
    });
  }

  async refresh(): Promise<void> {
    const all = (await this.#hosts.listAll({})).toSorted((a, b) => (a.id < b.id ? -1 : 1));
    const renewals = await this.#renewals.readMany(all.map(({ id }) => id));
    const at = readingOf(this.#clock);
    if (this.#readAt !== undefined && ageMs(this.#readAt, at) > this.#ttlMs) this.#seen.clear();
    this.#readAt = at;
    this.#note(renewals, at);
    const known = all.map(({ id: name, state }) =>
      this.#counting(async (): Promise<KnownVmHost[]> => {
        if (state.status === 'absent') return [];
        const { address = '', zone = '', capacity = 0, isLeaving = false } = renewals.get(name) ?? {};
        const machineCount = await this.#countAt(name);
        return [{ name, status: state.status, isServing: false, isLeaving, address, zone, capacity, machineCount }];
      }),
    );
    this.#known = (await Promise.all(known)).flat();
    for (const host of this.#seen.keys()) if (!renewals.has(host)) this.#seen.delete(host);
  }

  list(): readonly KnownVmHost[] {
    return this.#known.map((host) => ({ ...host, isServing: host.status !== 'lost' && this.isRenewing(host.name) }));
  }

  find(name: string): KnownVmHost | undefined {
    const { vmHost } = names.vmHost.parse(name, 'vm_host');
    return this.list().find((host) => host.name === vmHost);
  }

  /** Reads the newest renewal of one host now, for `isRenewing`. @param host short name @returns undefined before the first */
  async look(host: string): Promise<Renewal | undefined> {
    const renewals = await this.#renewals.readMany([host]);
    this.#note(renewals, readingOf(this.#clock));
    return renewals.get(host);
  }

  /** A renewal that this process has stored. @param host short name */
  saw(host: string, renewal: Renewal): void {
    this.#note(new Map([[host, renewal]]), readingOf(this.#clock));
  }

  /** Whether a host renewed within the time to live, as far as this process has seen. @param host short name */
  isRenewing(host: string): boolean {
    return (this.silentMs(host) ?? Number.POSITIVE_INFINITY) < waitedOutMs(this.#ttlMs);
  }

  /** How long this process has seen no renewal of a host, in milliseconds; undefined if it has seen none at all. @param host short name */
  silentMs(host: string): number | undefined {
    const seen = this.#seen.get(host);
    return seen && ageMs(seen.at, readingOf(this.#clock));
  }

  #note(renewals: ReadonlyMap<string, Renewal>, at: ClockReading): void {
    for (const [host, renewal] of renewals) {
      if (this.#seen.get(host)?.renewal.number !== renewal.number) this.#seen.set(host, { renewal, at });
    }
  }
}
