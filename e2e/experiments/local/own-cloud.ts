import { rmSync } from 'node:fs';
import {
  type Estate,
  type Experiment,
  hostNamed,
  isDiskHostTarget,
  type Lab,
  type PlannedGroup,
  type Problem,
  type Target,
} from '@interlock/lab';
import { RUN_ATTRIBUTE } from '@interlock/lab/dataset';
import type { SpanStore } from '@interlock/lab/spans/span-store';
import { clockShift } from '@interlock/local/clocks/clock-shift.ts';
import { controlOf } from '@interlock/local/control/cloud-control.ts';
import { type DataFolder, openDataFolder, unmountBelow } from '@interlock/local/data-folder.ts';
import { guestFoldersOf } from '@interlock/local/guests.ts';
import { type LocalCloud, startLocalCloud } from '@interlock/local/local-cloud.ts';
import type { Crash } from '@interlock/local/restartable.ts';
import { openRestarts } from '@interlock/local/restarts.ts';
import {
  folderOfDiskHost,
  type HostCounts,
  hostNamesOf,
  type ProcessTarget,
  serviceNames,
} from '@interlock/local/services.ts';
import { removeServer } from '@interlock/local/unprivileged.ts';
import { createScope, type Scope, systemClock, systemRandom } from '@interlock/runtime';
import { type Clients, openOutside, tlsInto } from '../../cloud/clients.ts';
import { location } from '../../cloud/world.ts';
import type { CloudAccess } from '../cloud/cloud-access.ts';
import { CloudLab } from '../cloud/cloud-lab.ts';
import { eventFeeds } from '../cloud/event-feed.ts';
import { localJournals } from '../cloud/guest-journals.ts';
import { makePlannedEstate } from '../cloud/planned-estate.ts';
import { workload } from '../cloud/running-cloud.ts';
import { type Links, openLinks } from './links.ts';
import { PartFaults, refusedFaults } from './part-faults.ts';
import { cloudMib, type LimitedStorage, mountStorage, smallCloud, volumesMib } from './storage.ts';
import { termsOf } from './terms.ts';
import { throttleSettings } from './throttle.ts';

/** What a target of this machine needs. */
export interface LocalParts {
  /** Of the run. */
  readonly id: string;
  /** Progress, a line each. */
  readonly say: (line: string) => void;
  /** Receives the stored events of the run before the cloud is removed. */
  readonly keepEvents?: CloudAccess['keepEvents'];
  /** Receives the store of the spans of the run's own cloud. */
  readonly takeSpans?: (spans: SpanStore) => void;
  /** Receives each OTLP export of the services as it was sent: its path and its text. */
  readonly takeTelemetry?: (path: string, body: string) => void;
  /** The program of each service in place of its own: for planted bugs. */
  readonly entry?: Parameters<typeof startLocalCloud>[0]['entry'];
}

/** Time between two exports of metrics of a run that is recorded, in milliseconds. */
const metricsEveryMs = 5_000;

/** Time between two exports of spans and logs of such a run, in milliseconds: a killed process loses what it has not exported. */
const spansEveryMs = 100;

/** Settings of a run whose telemetry is recorded. */
const recordedSettings = ({ id, takeTelemetry }: LocalParts): Readonly<Record<string, string>> =>
  takeTelemetry === undefined
    ? {}
    : {
        OTEL_RESOURCE_ATTRIBUTES: `${RUN_ATTRIBUTE}=${id}`,
        OTEL_METRIC_EXPORT_INTERVAL: String(metricsEveryMs),
        OTEL_BSP_SCHEDULE_DELAY: String(spansEveryMs),
      };

/** Time until a part that ended on a full disk is started again, in milliseconds. */
const restartAfterMs = 1_000;

/** Memory of the guest of a machine, in MiB: its plan in docs/sizing.md. */
const guestMib = 60;

/** The problem of an estate whose guests need more memory than this machine has left. */
const largeEstate = (groups: readonly PlannedGroup[]): readonly Problem[] => {
  const machines = groups.reduce((sum, group) => sum + group.machines, 0);
  const largest = groups.toSorted((one, other) => other.machines - one.machines)[0];
  const leftMib = Math.floor(process.availableMemory() / 1_024 ** 2);
  if (largest === undefined || machines * guestMib <= leftMib) return [];
  return [
    {
      line: largest.line ?? 1,
      message: `the estate has ${machines} machines, whose guests need ${machines * guestMib} MiB of memory, and this computer has ${leftMib} MiB left`,
      cure: `Plan at most ${Math.floor(leftMib / guestMib)} machines, or use --target simulated.`,
    },
  ];
};

/** The experiment's own cloud, in processes of this machine. @param folder a new one, which it removes at the end */
export const ownCloudTarget = (folder: string, parts: LocalParts): Target => ({
  name: 'local',
  refuse: ({ timeline, estate }) =>
    estate.kind === 'existing'
      ? [
          {
            line: estate.line,
            message: 'the estate exists already, and --target local starts a cloud of its own',
            cure: 'Use --target existing, or plan groups of machines in the file.',
          },
        ]
      : [...refusedFaults(timeline, true), ...largeEstate(estate.groups)],
  async open(experiment, signal) {
    const scope = createScope();
    const stop = (): void => void scope.close();
    signal.addEventListener('abort', stop);
    try {
      return await openLab(experiment, openDataFolder(folder), scope, parts);
    } catch (error) {
      await scope.close();
      throw error;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  },
});

/** Removes what the cloud of an experiment left in its folder. */
export const removeCloud = (data: DataFolder): void => {
  unmountBelow(data.root);
  removeServer(data);
  rmSync(data.root, { recursive: true, force: true });
};

/** Settings that make the timeline possible: by default a set refuses a key of a vault without purge protection. */
export const settingsFor = ({ timeline }: Pick<Experiment, 'timeline'>): Readonly<Record<string, string>> => {
  const uses = (name: string): boolean => timeline.some(({ action }) => action === name);
  return {
    ...(uses('throttle') ? throttleSettings : {}),
    ...(uses('purge-key') ? { REQUIRE_PURGE_PROTECTION: 'false' } : {}),
  };
};

const hostsOf = (estate: Estate): HostCounts =>
  estate.kind === 'planned'
    ? { diskHosts: estate.diskHosts ?? 0, vmHosts: estate.vmHosts ?? 0 }
    : { diskHosts: 0, vmHosts: 0 };

/** What must exist before the cloud starts, because the timeline needs it. */
interface Rigging {
  readonly links: Links | undefined;
  readonly clocks: ReturnType<typeof clockShift> | undefined;
  /** The storage of the volumes, and of everything else. */
  readonly storage: {
    /** By the part that has them: `disk`, or disk hosts. */
    readonly volumes: ReadonlyMap<string, LimitedStorage>;
    readonly rest: LimitedStorage | undefined;
  };
}

const rig = async ({ timeline, estate }: Experiment, data: DataFolder, scope: Scope): Promise<Rigging> => {
  const uses = (name: string): boolean => timeline.some(({ action }) => action === name);
  const links = await openLinks({ timeline, estate });
  if (links !== undefined) scope.defer('links', links.close);
  const filled = timeline.filter(({ action }) => action === 'fill-storage').flatMap(({ targets }) => targets);
  const mounted = (isWanted: boolean, folder: string, mib: number): LimitedStorage | undefined => {
    const storage = isWanted ? mountStorage(folder, mib) : undefined;
    if (storage !== undefined) scope.defer('storage', storage.close);
    return storage;
  };
  const rest = mounted(
    filled.some((part) => part !== 'disk' && !isDiskHostTarget(part)),
    data.root,
    cloudMib,
  );
  // Which host has the disks of a group is known only when they are made.
  const isAny = filled.some((part) => 'group' in (hostNamed(part) ?? {}));
  const { diskHosts } = hostsOf(estate);
  const withVolumes: readonly ProcessTarget[] = diskHosts === 0 ? ['disk'] : hostNamesOf({ diskHosts, vmHosts: 0 });
  const volumes = new Map<string, LimitedStorage>();
  for (const [n, part] of withVolumes.entries()) {
    const isWanted = filled.includes(part) || (isAny && part !== 'disk');
    const found = mounted(isWanted, data.path('services', folderOfDiskHost(n)), volumesMib);
    if (found !== undefined) volumes.set(part, found);
  }
  const storage = { rest, volumes };
  return { links, storage, clocks: uses('shift-clock') ? clockShift(data.folder('clocks')) : undefined };
};

/** Options of a cloud whose file system is filled. */
const forFullDisk = ({ say }: LocalParts, signal: AbortSignal) => {
  const restart = openRestarts({ afterMs: restartAfterMs, clock: systemClock, say, signal });
  const onCrash = (crash: Crash): void => {
    // Postgres may end on a full disk, and `npm run up` starts it again. A service must not end.
    if (crash.name === 'Postgres') restart(crash);
    else say(crash.message);
  };
  return { onCrash, say, postgresSettings: smallCloud.postgresSettings };
};

const openLab = async (experiment: Experiment, data: DataFolder, scope: Scope, parts: LocalParts): Promise<Lab> => {
  scope.defer('folder', () => removeCloud(data));
  const rigging = await rig(experiment, data, scope);
  // Only servers that this cloud started may be killed, so none are taken from the environment.
  const { DATABASE_URL: _, NATS_URL: __, ...env } = process.env;
  const settings = {
    ...settingsFor(experiment),
    ...(rigging.storage.rest === undefined ? {} : smallCloud.settings),
    ...rigging.clocks?.settings,
    ...recordedSettings(parts),
    ...experiment.settings,
  };
  parts.say('starting a cloud');
  const { route } = rigging.links ?? {};
  const cloud = await startLocalCloud({
    data,
    env,
    settings,
    ...hostsOf(experiment.estate),
    within: scope,
    ...(rigging.storage.rest === undefined
      ? { onCrash: ({ message }) => parts.say(message) }
      : forFullDisk(parts, scope.signal)),
    ...(route === undefined ? {} : { route }),
    ...(parts.takeTelemetry === undefined ? {} : { takeTelemetry: parts.takeTelemetry }),
    ...(parts.entry === undefined ? {} : { entry: parts.entry }),
  });
  parts.takeSpans?.(cloud.spans);
  const outside = openOutside(cloud);
  scope.defer('clients', outside.close);
  const access = accessTo(cloud, outside.administrator, { data, settings, rigging });
  parts.say('making the estate');
  const estate = await makePlannedEstate(
    {
      clients: outside.administrator,
      clock: systemClock,
      uuid: systemRandom.uuid,
      resourceGroup: `${cloud.administrator.subscription}/resourceGroups/${parts.id}`,
      location,
      owner: `principals/${cloud.administrator.principalId}`,
      tag: '',
      workload,
    },
    experiment,
  );
  const { keepEvents } = parts;
  const lab = new CloudLab(
    { ...access, ...(keepEvents === undefined ? {} : { keepEvents }) },
    experiment,
    estate,
    scope.close,
  );
  await lab.prepare();
  return lab;
};

const accessTo = (
  cloud: LocalCloud,
  clients: Clients,
  parts: { data: DataFolder; settings: Readonly<Record<string, string>>; rigging: Rigging },
): CloudAccess => {
  const { data, settings, rigging } = parts;
  const { host: postgres } = new URL(cloud.databaseUrls.identity);
  const { host: nats } = new URL(cloud.nats.access.servers[0] ?? '');
  const { storage, ...tools } = rigging;
  const faults = new PartFaults({
    control: controlOf(cloud, serviceNames, 1, hostNamesOf(cloud)),
    hasDiskHosts: cloud.diskHosts > 0,
    callable: { clients, servers: { nats, postgres } },
    ...tools,
    storageOf: (part) => storage.volumes.get(part) ?? storage.rest,
  });
  return {
    clients,
    tls: tlsInto(cloud),
    feeds: eventFeeds(clients.messaging),
    journals: localJournals(guestFoldersOf(data, cloud.vmHosts)),
    terms: termsOf(settings),
    versions: { node: process.version, postgres: cloud.postgres.description, nats: cloud.nats.description },
    faults,
  };
};
