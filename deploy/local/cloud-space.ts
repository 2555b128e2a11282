import type { LocalCloudOptions } from './cloud-types.ts';
import { requireSpace, type SpaceLimits, spaceNeeds } from './disk-space.ts';
import { localStreams } from './nats-streams.ts';
import { walOf } from './postgres.ts';
import { serviceNames } from './services.ts';
import { logBytesMax, type SpaceWatch, watchSpace } from './space-watch.ts';
import { spanFileBytesMax } from './span-receiver.ts';

/** The options of a cloud that decide how much space it may take. */
export type SpaceOptions = Pick<
  LocalCloudOptions,
  'data' | 'env' | 'settings' | 'postgresSettings' | 'services' | 'replicas'
>;

/** How much space the parts of a local cloud may take besides the databases and the volumes of machines. */
export const spaceLimitsOf = (options: SpaceOptions): SpaceLimits => {
  const { data, env, settings, postgresSettings, services = serviceNames, replicas = 1 } = options;
  return {
    wal: walOf(data, env, postgresSettings),
    streams: env.NATS_URL
      ? undefined
      : { count: services.length, bytesMax: localStreams({ ...env, ...settings }).bytesMax },
    // Of each process, both servers and the guests, with one earlier part each.
    logs: { count: 2 * (services.length * replicas + 3), bytesMax: logBytesMax },
    spansBytesMax: 2 * spanFileBytesMax,
  };
};

/**
 * Checks that there is the space that a cloud may take, and watches it from then on.
 * @throws LauncherError that names the folder, the space it needs and has
 */
export const provideSpace = (options: SpaceOptions, say: (line: string) => void): SpaceWatch => {
  const { data } = options;
  const limits = spaceLimitsOf(options);
  requireSpace(spaceNeeds(data, limits));
  const folders = [data.root, ...(limits.wal === undefined ? [] : [limits.wal.home])];
  return watchSpace({ folders, logs: data.folder('logs'), say });
};
