import type { Category } from '@interlock/event-store';
import { outsideOfCalls } from '@interlock/rpc';
import { ageMs, type Clock, type ClockReading, type Logger, readingOf, waitedOutMs } from '@interlock/runtime';
import type { HostLease, HostLeases } from '../host/owner/lease-row.ts';
import type { FleetHost, RegisteredHost } from './decider.ts';
import type { DiskHostEvent } from './events.ts';
import { hashOf, type KnownHost } from './known-host.ts';

/** Whether a host serves its disks: `lost` is the word of an operator; an unreachable host may return. */
export type HostCondition = 'serving' | 'unreachable' | 'lost';

/** A lease as this process saw it change last. */
interface SeenLease {
  readonly lease: HostLease;
  readonly at: ClockReading;
}

/**
 * The hosts of the fleet as this process knows them: their states, and whether their leases are renewed. A lease counts from when
 * this process saw it change, by its own clock: clocks of other machines decide nothing. So a host that has ended before this
 * process started counts as serving for the time of one lease.
 */
export class Fleet {
  readonly #hosts: Pick<Category<FleetHost, DiskHostEvent>, 'listAll'>;
  readonly #leases: Pick<HostLeases, 'readMany'>;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #countOn: ((host: string) => Promise<number>) | undefined;
  #counts: ReadonlyMap<string, number> = new Map();
  /** In order of their names. */
  #known: ReadonlyMap<string, RegisteredHost & { readonly nameHash: number }> = new Map();
  /** By folder. */
  readonly #seen = new Map<string, SeenLease>();

  constructor(parts: {
    readonly hosts: Pick<Category<FleetHost, DiskHostEvent>, 'listAll'>;
    readonly leases: Pick<HostLeases, 'readMany'>;
    readonly clock: Clock;
    readonly log: Logger;
    /** Counts disks and snapshots that name a host; absent in a process that places none. */
    readonly countOn?: (host: string) => Promise<number>;
  }) {
    this.#hosts = parts.hosts;
    this.#leases = parts.leases;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#countOn = parts.countOn;
  }

  /**
   * Reads the hosts, and again each `periodMs` until `signal` is aborted.
   * @param onRead called after each reading
   */
  async watch(periodMs: number, signal: AbortSignal, onRead: () => void = () => undefined): Promise<void> {
    await this.refresh();
    onRead();
    outsideOfCalls(async () => {
      for (;;) {
        await this.#clock.sleep(periodMs, signal);
        if (signal.aborted) return;
        await this.refresh().then(onRead, (error: unknown) =>
          this.#log.warn('the disk hosts could not be read', { error }),
        );
      }
    });
  }

  /** Reads the hosts and their leases now. */
  async refresh(): Promise<void> {
    const known = new Map<string, RegisteredHost & { readonly nameHash: number }>();
    const all = (await this.#hosts.listAll({})).toSorted((a, b) => (a.id < b.id ? -1 : 1));
    for (const { id, state } of all) if (state.status !== 'absent') known.set(id, { ...state, nameHash: hashOf(id) });
    const leases = await this.#leases.readMany([...known.values()].map(({ folderId }) => folderId));
    const countOn = this.#countOn;
    if (countOn) {
      const counts = [...known.keys()].map(async (host) => [host, await countOn(host)] as const);
      this.#counts = new Map(await Promise.all(counts));
    }
    this.#known = known;
    for (const folder of this.#seen.keys()) if (!leases.has(folder)) this.#seen.delete(folder);
    this.#note(leases);
  }

  /** Reads the lease of one folder now. @returns the newest that this process has seen */
  async look(folderId: string): Promise<HostLease | undefined> {
    this.#note(await this.#leases.readMany([folderId]));
    return this.leaseOf(folderId);
  }

  /** The newest lease of a folder that this process has seen; undefined before it has seen one. */
  leaseOf(folderId: string): HostLease | undefined {
    return this.#seen.get(folderId)?.lease;
  }

  /** Whether the lease of a folder is held, as far as this process has seen. */
  isServing(folderId: string): boolean {
    const seen = this.#seen.get(folderId);
    if (seen === undefined || seen.lease.isReleased) return false;
    return ageMs(seen.at, readingOf(this.#clock)) < waitedOutMs(seen.lease.ttlMs);
  }

  #note(leases: ReadonlyMap<string, HostLease>): void {
    const at = readingOf(this.#clock);
    for (const [folder, lease] of leases) {
      const before = this.#seen.get(folder);
      const isRenewed = before === undefined || (lease.renewals ?? 0) > (before.lease.renewals ?? 0);
      if (isRenewed) this.#seen.set(folder, { lease, at });
    }
  }

  /** Every registered host, in order of their names. */
  list(): readonly KnownHost[] {
    return [...this.#known].map(([name, { status, folderId, nameHash }]) => {
      const isServing = status !== 'lost' && this.isServing(folderId);
      const volumeCount = this.#counts.get(name) ?? 0;
      return { name, nameHash, status, isServing, lease: this.leaseOf(folderId), volumeCount };
    });
  }

  /** The folder of a host; undefined if it is not registered. */
  folderOf(host: string): string | undefined {
    return this.#known.get(host)?.folderId;
  }

  /** Whether an operator declared the host lost. */
  isLost(host: string): boolean {
    return this.#known.get(host)?.status === 'lost';
  }

  /** Whether the host serves its disks; one that is not registered does not. */
  conditionOf(host: string): HostCondition {
    if (this.isLost(host)) return 'lost';
    const folderId = this.#known.get(host)?.folderId;
    return folderId !== undefined && this.isServing(folderId) ? 'serving' : 'unreachable';
  }
}
