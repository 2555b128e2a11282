import type { Category } from '@interlock/event-store';
import { outsideOfCalls } from '@interlock/rpc';
import { ageMs, type Clock, type ClockReading, type Logger, readingOf, waitedOutMs } from '@interlock/runtime';
import type { HostLease, HostLeases } from '../host/owner/lease-row.ts';
import type { FleetHost, RegisteredHost } from './decider.ts';
import type { DiskHostEvent } from './events.ts';

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
  #known: ReadonlyMap<string, RegisteredHost> = new Map();
  /** By folder. */
  readonly #seen = new Map<string, SeenLease>();

  constructor(parts: {
    readonly hosts: Pick<Category<FleetHost, DiskHostEvent>, 'listAll'>;
    readonly leases: Pick<HostLeases, 'readMany'>;
    readonly clock: Clock;
    readonly log: Logger;
  }) {
    this.#hosts = parts.hosts;
    this.#leases = parts.leases;
    this.#clock = parts.clock;
    this.#log = parts.log;
  }

  /** Reads the hosts, and again each `periodMs` until `signal` is aborted. */
  async watch(periodMs: number, signal: AbortSignal): Promise<void> {
    await this.refresh();
    outsideOfCalls(async () => {
      for (;;) {
        await this.#clock.sleep(periodMs, signal);
        if (signal.aborted) return;
        await this.refresh().catch((error: unknown) => this.#log.warn('the disk hosts could not be read', { error }));
      }
    });
  }

  /** Reads the hosts and their leases now. */
  async refresh(): Promise<void> {
    const known = new Map<string, RegisteredHost>();
    for (const { id, state } of await this.#hosts.listAll({})) if (state.status !== 'absent') known.set(id, state);
    const leases = await this.#leases.readMany([...known.values()].map(({ folderId }) => folderId));
    this.#known = known;
    const at = readingOf(this.#clock);
    for (const folder of this.#seen.keys()) if (!leases.has(folder)) this.#seen.delete(folder);
    for (const [folder, lease] of leases) {
      const before = this.#seen.get(folder);
      const isRenewed = before === undefined || (lease.renewals ?? 0) > (before.lease.renewals ?? 0);
      if (isRenewed) this.#seen.set(folder, { lease, at });
    }
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
