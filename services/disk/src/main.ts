import { setDefaultHighWaterMark } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { hostService } from '@interlock/host';
import { callMaxMsOf, diskProblems, diskSpec, leaseTermsOf, roleProblems } from './settings.ts';

// Reads and writes pass through memory outside of V8's heap, some 2 MiB each. V8 of Node 24 counts that against the limit of
// the heap, which is small here, and examines all of it after every few MiB. This flag counts it separately, as later releases
// do: up to 64 MiB wait to be freed instead.
setFlagsFromString('--external-memory-accounted-in-global-limit');
// Mark-compact collections after so much growth, not after some 50 %: their cost was a fifth of a write's, mostly for what does
// not die. It takes some 60 MiB more memory under load.
setFlagsFromString('--heap-growing-percent=200');

// A response stream counts messages: with the default, 16 of 64 KiB, each read whose client takes nothing would hold 1 MiB.
setDefaultHighWaterMark(true, 2);

await hostService({
  name: 'disk',
  env: process.env,
  args: process.argv.slice(2),
  settings: diskSpec,
  hostOf: ({ diskRole, diskHost }) => (diskRole === 'control' ? undefined : diskHost),
  problems: (settings) => [...diskProblems(settings), ...roleProblems(settings)],
  assemble: async (seams) => {
    const { settings } = seams;
    // Each role loads only its own code: a control process has none that touches volumes or data keys.
    if (settings.diskRole === 'control') {
      const { assembleControl } = await import('./routing/assemble-control.ts');
      const { hostLeaseTtlMs } = settings;
      return assembleControl({
        ...seams,
        settings: { hostLeaseTtlMs, callMaxMs: callMaxMsOf(leaseTermsOf(settings)) },
      });
    }
    const [{ assemble }, { openHostProcess }] = await Promise.all([
      import('./assemble.ts'),
      import('./host-process.ts'),
    ]);
    // `diskProblems` requires both unless this is a control process.
    const { dataFolder = '', masterKeyFile = '' } = settings;
    const own = { ...seams, settings: { ...settings, dataFolder, masterKeyFile } };
    return assemble({ ...seams, settings: await openHostProcess(own) });
  },
});
