import { hostService } from '@interlock/host';
import { assemble } from './assemble.ts';
import { setSpec } from './settings.ts';

await hostService({
  name: 'disk-encryption-set',
  env: process.env,
  args: process.argv.slice(2),
  settings: setSpec,
  assemble: ({ settings, ...seams }) =>
    assemble({
      ...seams,
      settings: {
        requirePurgeProtection: settings.requirePurgeProtection,
        setsPerRegionMax: settings.setsPerRegionMax,
        upkeep: {
          watchdogMs: settings.watchdogMs,
          rotationRetryMs: settings.rotationRetryMs,
          rotationCheckIntervalMs: settings.rotationCheckIntervalMs,
          rotation: { concurrency: settings.rotationConcurrency, pageSize: settings.rotationPageSize },
        },
      },
    }),
});
