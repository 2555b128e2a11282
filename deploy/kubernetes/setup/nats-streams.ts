import { serviceNames } from '@interlock/local/services.ts';
import { ensureStreams, natsSpec, streamsSpec } from '@interlock/messaging';
import { systemClock as clock, logger, readConfig } from '@interlock/runtime';

/**
 * Creates the streams of a cloud in a cluster as the operator of its NATS servers, and repeats until every stream has its copies.
 * @param env `NATS_…` of docs/settings.md
 * @param signal ends it
 * @throws ConfigError; Error if the servers refuse the operator
 */
export const createStreams = async (env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<void> => {
  const config = readConfig(env, { ...natsSpec, ...streamsSpec });
  const log = logger({ service: 'nats-streams', clock, write: (line) => console.log(line) });
  await ensureStreams(
    {
      servers: config.natsUrl.split(','),
      inboxPrefix: '_INBOX_operator',
      ...(config.natsSeedFile === undefined ? {} : { seed: config.natsSeedFile }),
      ...(config.natsCaFile === undefined ? {} : { caFile: config.natsCaFile }),
    },
    {
      services: serviceNames,
      namespace: config.natsNamespace,
      replicas: config.natsStreamReplicas,
      bytesMax: config.natsStreamBytesMax,
      ageMaxMs: config.natsStreamAgeMaxMs,
    },
    { clock, log, patienceMs: Number.POSITIVE_INFINITY, signal },
  );
};
