import type { Workload } from '@interlock/rpc';

/** One disk host, by its full name: `diskHosts/disk-0`. Only its own disks are excused. */
export type DiskHostDisturbed = `diskHosts/${string}`;

/** One VM host, by its full name: `vmHosts/vm-host-0`. It excuses no I/O, and delays only a prompt stop. */
export type VmHostDisturbed = `vmHosts/${string}`;

/**
 * The parts that can be disturbed: a service, the bus, the stores, callers outside, the network as a whole (`calls`), storage, one
 * disk host, one VM host, or `disk-control`: what places disks and passes calls on, if disk hosts are processes of their own.
 */
export type Disturbed =
  | Workload
  | 'bus'
  | 'store'
  | 'outside'
  | 'calls'
  | 'volumes'
  | 'disk-control'
  | DiskHostDisturbed
  | VmHostDisturbed;

/** What a disk or machine may wait for: the disk service, and the hosts that are named. */
export const disturbedHosts = (hosts: Iterable<string>): readonly Disturbed[] => [
  'disk',
  ...[...hosts].map((host): DiskHostDisturbed => `diskHosts/${host}`),
];

/** When each part was last disturbed, by a fault or on purpose. A disturbance excuses a failure. */
export class Disturbances {
  readonly #nowMs: () => number;
  readonly #active = new Map<Disturbed, number>();
  readonly #ended = new Map<Disturbed, number>();
  readonly #started = new Map<Disturbed, number>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Notes the start of a disturbance. @returns a function that ends it */
  begin(...parts: readonly Disturbed[]): () => void {
    for (const part of parts) this.#active.set(part, (this.#active.get(part) ?? 0) + 1);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      for (const part of parts) {
        this.#active.set(part, (this.#active.get(part) ?? 1) - 1);
        this.#ended.set(part, this.#nowMs());
      }
    };
  }

  /** When the last disturbance of any of these parts ended; now during one; undefined if there was none. */
  lastMs(parts: Iterable<Disturbed>): number | undefined {
    let last: number | undefined;
    for (const part of parts) {
      const at = (this.#active.get(part) ?? 0) > 0 ? this.#nowMs() : this.#ended.get(part);
      if (at !== undefined && (last === undefined || at > last)) last = at;
    }
    return last;
  }

  /** The same for any part. */
  lastAnyMs(): number | undefined {
    return this.lastMs(new Set([...this.#active.keys(), ...this.#ended.keys()]));
  }

  /** The same for whatever can affect the I/O of a disk: a control process and the other disk hosts cannot. */
  lastOfHostMs(host: string): number | undefined {
    const parts = new Set([...this.#active.keys(), ...this.#ended.keys()]);
    return this.lastMs([...parts].filter((part) => isNearHost(part, host)));
  }

  /** When the present process of a disk host started; 0 for the first. */
  hostStartedMs(host: string): number {
    return Math.max(0, ...disturbedHosts([host]).map((part) => this.#started.get(part) ?? 0));
  }

  noteStart(...parts: readonly Disturbed[]): void {
    for (const part of parts) this.#started.set(part, this.#nowMs());
  }
}

/** Whether it is a process with volumes: the process of disk, or a disk host. */
export const hasVolumes = (part: Disturbed): boolean => part === 'disk' || part.startsWith('diskHosts/');

/** Whether a disturbance can affect the I/O of the disks of a host. */
export const isNearHost = (part: Disturbed, host: string): boolean => {
  if (part.startsWith('diskHosts/')) return part === `diskHosts/${host}`;
  return part !== 'disk-control' && !part.startsWith('vmHosts/');
};
