import {
  channelOpener,
  isReachable,
  openStore,
  openTelemetry,
  openTls,
  readBuild,
  startProbes,
  versionLine,
} from '@interlock/host';
import { DATA_MESSAGE_BYTES_MAX, openChannel, type Workload } from '@interlock/rpc';
import {
  describeConfig,
  readConfig,
  runService,
  runSpec,
  type Startup,
  systemRandom,
  telemetrySpec,
} from '@interlock/runtime';
import { obtainMasterKey } from '@interlock/sealing';
import { assemble } from './assemble.ts';
import { openBackends } from './cloud/backends.ts';
import { cloudNamesOf } from './cloud/names.ts';
import { serveHttps } from './http/listen.ts';
import { serveLoopback } from './loopback/listen.ts';
import { managedIdentityOf } from './loopback/managed-identity.ts';
import { gatewaySpec } from './settings.ts';
import { testingOf } from './testing/testing-settings.ts';

const name = 'gateway';
const spec = { ...telemetrySpec, ...runSpec, ...gatewaySpec };

const start = async ({ scope, log, clock, env }: Startup): Promise<{ readonly address: string }> => {
  const build = readBuild();
  log.info('starting', { ...build });
  const config = readConfig(env, spec);
  log.info('settings', { ...describeConfig(spec, config) });
  const random = systemRandom;
  const seams = { name, config, scope, log, clock, random };
  const { tracer, meter } = await openTelemetry(seams, build);
  const probes =
    config.probeAddress === undefined ? undefined : await startProbes(config.probeAddress, () => scope.signal.aborted);
  scope.defer('probes', () => probes?.close());
  const tls = await openTls(config, { clock, log, meter, scope });
  const store = await openStore(seams);
  const open = channelOpener(config, tls);
  const channelTo = (service: Workload) => {
    const channel = open(service, {});
    scope.defer(`channel to ${service}`, () => channel.close());
    return channel;
  };
  const dataChannelTo = (address: string) => {
    const channel = openChannel({ address, tls, messageBytesMax: DATA_MESSAGE_BYTES_MAX });
    scope.defer(`channel to ${address}`, () => channel.close());
    return channel;
  };
  const names = cloudNamesOf(config);
  const gateway = await assemble({
    store,
    backends: openBackends({ channelTo, dataChannelTo, clock, random, tracer }),
    names,
    // A signing key that cannot be opened is refused when it is read.
    masterKey: await obtainMasterKey(config.masterKeyFile, random, async () => undefined),
    tokenLifetimeMs: config.gatewayTokenLifetimeSeconds * 1_000,
    testing: testingOf(config),
    clientAddressKey: config.clientAddressKey,
    failuresPerSecond: config.gatewayFailuresPerSecond,
    holdMs: config.gatewayHoldMs,
    clock,
    random,
    log,
    scope,
  });
  const address = await serveHttps({ ...gateway, names, config, random, clock, log, tracer, meter, scope });
  if (config.gatewayLoopbackAddress !== undefined) {
    await serveLoopback({
      names,
      address: config.gatewayLoopbackAddress,
      isShared: config.gatewaySharesAddress,
      isPublished: config.gatewayLoopbackPublished,
      gatewayAddress: config.gatewayAddress,
      tokens: managedIdentityOf(config, { names, clock, signIn: gateway.signIn }),
      scope,
      log,
      clock,
    });
  }
  probes?.started(async () => [{ name: 'store', isThere: await isReachable(store, clock), counts: true }]);
  return { address };
};

if (process.argv.includes('--version')) process.stdout.write(`${versionLine(name, readBuild())}\n`);
else await runService({ name, env: process.env, start });
