import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDataFolder } from '@interlock/local/data-folder.ts';
import { type LocalCloud, startLocalCloud } from '@interlock/local/local-cloud.ts';
import { type ServiceName, serviceNames } from '@interlock/local/services.ts';
import { removeServer } from '@interlock/local/unprivileged.ts';
import { type Clients, openOutside } from '../cloud/clients.ts';
import { clockShift, type Shift } from './clock-shift.ts';

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

/** A cloud of separate processes on servers of its own, all of which may be ended, stopped and started again. */
export interface ChaosCloud {
  readonly cloud: LocalCloud;
  /** As the administrator sees it. */
  readonly clients: Clients;
  /** Everything it keeps. */
  readonly folder: string;
  /** Where guests keep their journals. */
  readonly guests: string;
  /** Where disks lie. */
  readonly volumes: string;
  /** SIGKILL. It stays down until `restart` or `heal`. */
  kill(part: Part): Promise<void>;
  restart(part: Part): Promise<void>;
  /** SIGSTOP. @returns when that was asked for, in milliseconds since the epoch */
  pause(service: ServiceName): number;
  /** SIGCONT. @returns when that was asked for, in milliseconds since the epoch */
  resume(service: ServiceName): number;
  /** Moves the clocks of one service from those of the machine. */
  shiftClocks(service: ServiceName, shift: Shift): Promise<void>;
  /** Takes back whatever was done to it: resumes, restarts, sets the clocks right. */
  heal(): Promise<void>;
  /** Stops everything, what stands still included, and removes what it left. */
  stop(): Promise<void>;
}

/** Starts it. @param settings beside `times`, by environment variable */
export const startChaosCloud = async (settings: Readonly<Record<string, string>> = {}): Promise<ChaosCloud> => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-chaos-'));
  // Servers that were given are others' too: they are not ours to end.
  const { DATABASE_URL: _, NATS_URL: __, ...env } = process.env;
  try {
    const data = openDataFolder(folder);
    const clocks = clockShift(data.folder('clocks'));
    const cloud = await startLocalCloud({
      data,
      env,
      settings: {
        LEASE_TTL_MS: String(times.leaseTtlMs),
        AUTHZ_TTL_MS: String(times.authzTtlMs),
        IO_PAUSE_TIMEOUT_MS: String(times.ioPauseTimeoutMs),
        SWEEP_INTERVAL_MS: String(times.sweepIntervalMs),
        GUEST_STOP_TIMEOUT_MS: String(times.guestStopTimeoutMs),
        ...clocks.settings,
        ...settings,
      },
    });
    const outside = openOutside(cloud);
    const down = new Set<Part>();
    const paused = new Set<ServiceName>();
    const shifted = new Set<ServiceName>();
    const partOf = (part: Part) => {
      if (part === 'nats' || part === 'postgres') return cloud[part];
      return { kill: () => cloud.kill(part), restart: () => cloud.restart(part) };
    };
    const kill = async (part: Part): Promise<void> => {
      down.add(part);
      await partOf(part).kill();
    };
    const restart = async (part: Part): Promise<void> => {
      await partOf(part).restart();
      down.delete(part);
    };
    const resume = (service: ServiceName): number => {
      const at = Date.now();
      cloud.resume(service);
      paused.delete(service);
      return at;
    };
    return {
      cloud,
      clients: outside.administrator,
      folder,
      guests: data.path('services', 'compute', 'guests'),
      volumes: data.path('services', 'disk'),
      kill,
      restart,
      pause(service) {
        const at = Date.now();
        paused.add(service);
        cloud.pause(service);
        return at;
      },
      resume,
      async shiftClocks(service, shift) {
        shifted.add(service);
        await clocks.set(service, shift);
      },
      async heal() {
        for (const service of paused) resume(service);
        // Servers first: no service starts without its database.
        for (const part of ['postgres', 'nats', ...serviceNames] as const) if (down.has(part)) await restart(part);
        for (const service of shifted) await clocks.set(service, { wallMs: 0, bootMs: 0 });
        shifted.clear();
      },
      async stop() {
        outside.close();
        await cloud.stop();
        removeServer(data);
        rmSync(folder, { recursive: true, force: true });
      },
    };
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
};
