import { Rejection } from '@interlock/event-store';
import type { Seams } from '@interlock/host';
import type { Clock } from '@interlock/runtime';
import { preferred } from '../fleet/choice.ts';
import type { Fleet } from '../fleet/fleet.ts';
import type { KnownHost } from '../fleet/known-host.ts';
import { HostLink, unreachable } from './host-link.ts';

/** What connections to hosts need. */
interface LinkParts {
  readonly fleet: Pick<Fleet, 'list' | 'refresh'>;
  readonly connectTo: Seams<unknown>['connectTo'];
  readonly clock: Pick<Clock, 'sleep' | 'monotonicMs'>;
}

/** How long a host that is shown has to respond, in milliseconds. */
const shownMs = 1_000;

/** The connections to the disk hosts, at the addresses that their leases name. */
export class HostLinks {
  readonly #parts: LinkParts;
  readonly #links = new Map<string, HostLink>();
  #refresh: Promise<void> | undefined;

  constructor(parts: LinkParts) {
    this.#parts = parts;
  }

  /**
   * The connection to a host.
   * @throws Rejection UNAVAILABLE DISK_HOST_UNREACHABLE at once if its lease is over: it refuses all work itself then
   */
  async to(host: string): Promise<HostLink> {
    if (!this.#known(host)?.isServing) await this.refresh();
    const { isServing = false, lease } = this.#known(host) ?? {};
    const address = lease?.grpcAddress ?? '';
    const open = this.#links.get(host);
    if (open !== undefined && open.address === address && isServing) return open;
    this.#links.delete(host);
    open?.close();
    if (address === '' || !isServing) throw unreachable(host);
    const { connectTo, clock } = this.#parts;
    const link = new HostLink({ host, address, process: connectTo('disk', address), clock });
    this.#links.set(host, link);
    return link;
  }

  /** Names of serving hosts in the order that a key prefers, at most 16; those that take new disks and those that do not. */
  async serving(key: string): Promise<readonly string[]> {
    const names = (): readonly string[] => preferred(this.hosts(), key, ({ isServing }) => isServing);
    if (names().length === 0) await this.refresh();
    return names();
  }

  /** The hosts as this process knows them. */
  hosts(): readonly KnownHost[] {
    return this.#parts.fleet.list();
  }

  /** Has a host probed because the next call may be for it (`HostLink.expect`). @returns ends that */
  async expect(host: string): Promise<() => void> {
    try {
      return (await this.to(host)).expect();
    } catch (error) {
      // Its lease is over: a call is refused at once.
      if (error instanceof Rejection) return () => undefined;
      throw error;
    }
  }

  /** Whether a host holds its lease and responds now. An ended host keeps its lease for a while, so the lease alone says too much. */
  async responds(host: string): Promise<boolean> {
    try {
      return await (await this.to(host)).responds(shownMs);
    } catch (error) {
      if (error instanceof Rejection) return false;
      throw error;
    }
  }

  /** Reads the hosts now; concurrent calls share one reading. */
  refresh(): Promise<void> {
    this.#refresh ??= this.#parts.fleet.refresh().finally(() => {
      this.#refresh = undefined;
    });
    return this.#refresh;
  }

  close(): void {
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
  }

  #known(host: string): KnownHost | undefined {
    return this.hosts().find(({ name }) => name === host);
  }
}
