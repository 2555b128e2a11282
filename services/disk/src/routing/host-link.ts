import { DiskHostServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { Rejection } from '@interlock/event-store';
import type { PeerProcess } from '@interlock/host';
import { outsideOfCalls, type RpcClient, RpcFailure } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';

/**
 * Most calls that one process has under way at one disk host. A host that accepts calls and never answers then costs this process
 * the memory of so many requests, and no more.
 */
export const callsPerHostMax = 256;

/** After so many milliseconds without a response the host is probed, and again so long after each probe. */
const patienceMs = 500;

/** How long a probe may take, in milliseconds: a host that does not respond is unreachable 3 s after a call at the latest. */
const probeMs = 2_000;

/** A call that is under way at the host. */
interface Waiting {
  readonly sinceMs: number;
  readonly giveUp: (error: Rejection) => void;
}

/**
 * The connection to one disk host. A slow call is waited for as long as its caller waits. If the host does not even respond to a
 * probe meanwhile, all its calls end as DISK_HOST_UNREACHABLE.
 */
export class HostLink {
  readonly host: string;
  readonly address: string;
  readonly disks: RpcClient<typeof DiskServiceDefinition>;
  readonly volumes: RpcClient<typeof DiskHostServiceDefinition>;
  readonly #process: PeerProcess;
  readonly #clock: Pick<Clock, 'sleep' | 'monotonicMs'>;
  readonly #waiting = new Set<Waiting>();
  #isWatched = false;

  constructor(parts: {
    readonly host: string;
    readonly address: string;
    readonly process: PeerProcess;
    readonly clock: Pick<Clock, 'sleep' | 'monotonicMs'>;
  }) {
    this.host = parts.host;
    this.address = parts.address;
    this.#process = parts.process;
    this.#clock = parts.clock;
    this.disks = parts.process.client(DiskServiceDefinition);
    this.volumes = parts.process.client(DiskHostServiceDefinition);
  }

  /**
   * Calls the host.
   * @param signal the end of the caller
   * @param send makes the call until the signal that it gets is aborted
   * @throws the refusal of the host; Rejection UNAVAILABLE DISK_HOST_UNREACHABLE, DISK_HOST_BUSY
   */
  async call<Answer>(signal: AbortSignal, send: (link: this, signal: AbortSignal) => Promise<Answer>): Promise<Answer> {
    if (this.#waiting.size >= callsPerHostMax) throw busy(this.host);
    const ending = new AbortController();
    const { promise: silence, reject } = Promise.withResolvers<never>();
    silence.catch(() => undefined);
    const waiting: Waiting = {
      sinceMs: this.#clock.monotonicMs(),
      giveUp: (error) => {
        reject(error);
        ending.abort();
      },
    };
    this.#waiting.add(waiting);
    this.#watch();
    try {
      return await Promise.race([silence, send(this, AbortSignal.any([signal, ending.signal]))]);
    } catch (error) {
      throw error instanceof RpcFailure && error.code === 'UNAVAILABLE' ? unreachable(this.host, error) : error;
    } finally {
      this.#waiting.delete(waiting);
    }
  }

  /** Whether the host responds to a probe within this time, in milliseconds. */
  responds(withinMs: number): Promise<boolean> {
    return this.#process.responds(withinMs);
  }

  /** Closes the connection; calls under way end as DISK_HOST_UNREACHABLE. */
  close(): void {
    for (const { giveUp } of this.#waiting) giveUp(unreachable(this.host));
    this.#process.close();
  }

  /** Probes the host while calls wait for it. */
  #watch(): void {
    if (this.#isWatched) return;
    this.#isWatched = true;
    void outsideOfCalls(async () => {
      while (this.#waiting.size > 0) {
        await this.#clock.sleep(patienceMs);
        const [oldest] = this.#waiting;
        if (oldest === undefined || this.#clock.monotonicMs() - oldest.sinceMs < patienceMs) continue;
        const asked = [...this.#waiting];
        if (await this.#process.responds(probeMs)) continue;
        for (const one of asked) if (this.#waiting.has(one)) one.giveUp(unreachable(this.host));
      }
      this.#isWatched = false;
    });
  }
}

/** The refusal of what needs a host that does not respond. */
export const unreachable = (host: string, cause?: unknown): Rejection =>
  new Rejection(
    'UNAVAILABLE',
    'DISK_HOST_UNREACHABLE',
    `disk host ${host} does not respond: try again, or start it again. Its disks are unchanged`,
    { disk_host: `diskHosts/${host}` },
    cause === undefined ? {} : { cause },
  );

const busy = (host: string): Rejection =>
  new Rejection(
    'UNAVAILABLE',
    'DISK_HOST_BUSY',
    `${callsPerHostMax} calls of this process are under way at disk host ${host}, which is the limit: try again`,
    { disk_host: `diskHosts/${host}`, limit: String(callsPerHostMax) },
  );
