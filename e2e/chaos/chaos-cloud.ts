import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clockShift, type Shift } from '@interlock/local/clocks/clock-shift.ts';
import { type DataFolder, openDataFolder } from '@interlock/local/data-folder.ts';
import { type LocalCloud, startLocalCloud } from '@interlock/local/local-cloud.ts';
import { type ServiceName, serviceNames } from '@interlock/local/services.ts';
import { removeServer } from '@interlock/local/unprivileged.ts';
import { type Clients, openOutside } from '../cloud/clients.ts';
import { eventFeeds } from '../experiments/cloud/event-feed.ts';
import type { Disturbed } from '../oracle/model/disturbances.ts';
import type { Disturbance, Recording } from '../oracle/recording/replay.ts';

/** Settings every chaos cloud runs with, in milliseconds: as short as the promise allows, so that every test sees the bound. */
export const times = {
  leaseTtlMs: 2_000,
  authzTtlMs: 1_000,
  ioPauseTimeoutMs: 1_500,
  sweepIntervalMs: 1_000,
  guestStopTimeoutMs: 2_000,
} as const;

/** What can be ended and started again: a service, or one of the servers they share. */
export type Part = ServiceName | 'nats' | 'postgres';

/** A disturbance while it lasts, and afterwards. */
type OpenDisturbance = { -readonly [Field in keyof Disturbance]: Disturbance[Field] };

/** The part as the oracle names it. */
const disturbed = (part: Part): Disturbed => (part === 'nats' ? 'bus' : part === 'postgres' ? 'store' : part);

/** A cloud of separate processes on servers of its own, all of which may be killed, stopped and started again. */
export class ChaosCloud {
  readonly cloud: LocalCloud;
  /** As the administrator sees it. */
  readonly clients: Clients;
  /** Everything it keeps. */
  readonly folder: string;
  /** Where guests keep their journals. */
  readonly guests: string;
  /** Where volumes are. */
  readonly volumes: string;
  readonly #data: DataFolder;
  readonly #clocks: ReturnType<typeof clockShift>;
  readonly #close: () => void;
  readonly #unreachableGraceMs: number;
  readonly #disturbances: OpenDisturbance[] = [];
  readonly #down = new Map<Part, OpenDisturbance>();
  readonly #paused = new Map<ServiceName, OpenDisturbance>();
  readonly #shifted = new Set<ServiceName>();
  #wereClocksShifted = false;

  constructor(parts: {
    readonly cloud: LocalCloud;
    readonly data: DataFolder;
    readonly clocks: ReturnType<typeof clockShift>;
    readonly unreachableGraceMs: number;
  }) {
    const { cloud, data } = parts;
    const outside = openOutside(cloud);
    this.cloud = cloud;
    this.clients = outside.administrator;
    this.folder = data.root;
    this.guests = data.path('services', 'compute', 'guests');
    this.volumes = data.path('services', 'disk');
    this.#data = data;
    this.#clocks = parts.clocks;
    this.#close = outside.close;
    this.#unreachableGraceMs = parts.unreachableGraceMs;
  }

  /** SIGKILL. It stays down until `restart` or `heal`. */
  async kill(part: Part): Promise<void> {
    this.#down.set(part, this.#disturb(part));
    await this.#processOf(part).kill();
  }

  async restart(part: Part): Promise<void> {
    await this.#processOf(part).restart();
    const disturbance = this.#down.get(part);
    this.#down.delete(part);
    if (!disturbance) return;
    disturbance.toMs = Date.now();
    if (part !== 'nats' && part !== 'postgres') disturbance.restarted = part;
  }

  /** SIGSTOP. @returns when that was requested, in milliseconds since the epoch */
  pause(service: ServiceName): number {
    const disturbance = this.#disturb(service);
    this.#paused.set(service, disturbance);
    this.cloud.pause(service);
    return disturbance.fromMs;
  }

  /** SIGCONT. @returns when that was requested, in milliseconds since the epoch */
  resume(service: ServiceName): number {
    const at = Date.now();
    this.cloud.resume(service);
    const disturbance = this.#paused.get(service);
    if (disturbance) disturbance.toMs = at;
    this.#paused.delete(service);
    return at;
  }

  /** Moves the clocks of one service from those of the machine. */
  async shiftClocks(service: ServiceName, shift: Shift): Promise<void> {
    this.#wereClocksShifted = true;
    this.#shifted.add(service);
    await this.#clocks.set(service, shift);
  }

  /** Ends whatever was done to it: resumes, restarts, sets the clocks right. */
  async heal(): Promise<void> {
    for (const service of [...this.#paused.keys()]) this.resume(service);
    // Servers first: no service starts without its database.
    for (const part of ['postgres', 'nats', ...serviceNames] as const)
      if (this.#down.has(part)) await this.restart(part);
    for (const service of this.#shifted) await this.#clocks.set(service, { wallMs: 0, bootMs: 0 });
    this.#shifted.clear();
  }

  /** What the oracle needs to judge everything so far; undefined if a clock was shifted: then event times mean nothing. */
  async recording(slackMs: number): Promise<Recording | undefined> {
    if (this.#wereClocksShifted) return undefined;
    const { read } = eventFeeds(this.clients.messaging);
    const feeds = serviceNames.map(async (service) => [service, await read(service)] as const);
    const { leaseTtlMs: ttlMs, authzTtlMs, sweepIntervalMs, guestStopTimeoutMs } = times;
    const leases = { ttlMs, unreachableGraceMs: this.#unreachableGraceMs };
    return {
      events: Object.fromEntries(await Promise.all(feeds)),
      disturbances: this.#disturbances,
      terms: { authzTtlMs, leases, sweepIntervalMs, guestStopTimeoutMs },
      slackMs,
    };
  }

  /** Stops everything, also what is paused, and removes what it left. */
  async stop(): Promise<void> {
    this.#close();
    await this.cloud.stop();
    removeServer(this.#data);
    rmSync(this.folder, { recursive: true, force: true });
  }

  #disturb(part: Part): OpenDisturbance {
    const disturbance: OpenDisturbance = { parts: [disturbed(part)], fromMs: Date.now() };
    this.#disturbances.push(disturbance);
    return disturbance;
  }

  #processOf(part: Part): { kill(): Promise<void>; restart(): Promise<void> } {
    if (part === 'nats' || part === 'postgres') return this.cloud[part];
    return { kill: () => this.cloud.kill(part), restart: () => this.cloud.restart(part) };
  }
}

/** Starts it. @param settings beside `times`, by environment variable */
export const startChaosCloud = async (settings: Readonly<Record<string, string>> = {}): Promise<ChaosCloud> => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-chaos-'));
  // Servers from outside belong to others: they must not be killed.
  const { DATABASE_URL: _, NATS_URL: __, ...env } = process.env;
  try {
    const data = openDataFolder(folder);
    const clocks = clockShift(data.folder('clocks'));
    const all: Readonly<Record<string, string>> = { ...settingsOf(times), ...clocks.settings, ...settings };
    const cloud = await startLocalCloud({ data, env, settings: all });
    return new ChaosCloud({ cloud, data, clocks, unreachableGraceMs: Number(all.UNREACHABLE_GRACE_MS ?? 600_000) });
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
};

const settingsOf = (own: typeof times): Readonly<Record<string, string>> => ({
  LEASE_TTL_MS: String(own.leaseTtlMs),
  AUTHZ_TTL_MS: String(own.authzTtlMs),
  IO_PAUSE_TIMEOUT_MS: String(own.ioPauseTimeoutMs),
  SWEEP_INTERVAL_MS: String(own.sweepIntervalMs),
  GUEST_STOP_TIMEOUT_MS: String(own.guestStopTimeoutMs),
});
