/**
 * npm run pack:otel-jetstream [-- <folder>]
 *
 * Makes the npm package `otel-jetstream` from this folder, in the given folder or `.interlock/`: ES modules for Node 20 and newer,
 * with types.
 */
import { resolve } from 'node:path';
import { packLibrary, repositoryField } from '../pack/pack-library.ts';
import manifest from './package.json' with { type: 'json' };

/** Major versions that the package is tested with. */
const peerRanges = { '@nats-io/jetstream': '^3.0.0', '@opentelemetry/api': '^1.9.0' };

/** package.json of the package: the workspace's own names and development files are not in it. */
const packageManifest = {
  name: 'otel-jetstream',
  version: manifest.version,
  description: manifest.description,
  license: manifest.license,
  keywords: ['opentelemetry', 'nats', 'jetstream', 'tracing', 'messaging', 'instrumentation'],
  type: 'module',
  sideEffects: false,
  engines: { node: '>=20' },
  exports: { '.': { types: './dist/index.d.ts', default: './dist/index.js' } },
  files: ['dist'],
  peerDependencies: peerRanges,
  // What @nats-io/jetstream itself brings: it alone creates message headers.
  dependencies: { '@nats-io/nats-core': '^3.0.0' },
};

/**
 * @param folder where the package goes; created if it does not exist
 * @param source URL of the repository, if known
 * @returns path of the `.tgz`
 */
export const packOtelJetstream = (folder: string, source?: string): string =>
  packLibrary(import.meta.dirname, { ...packageManifest, ...repositoryField(source) }, folder);

if (import.meta.main) console.log(packOtelJetstream(resolve(process.argv[2] ?? '.interlock')));
