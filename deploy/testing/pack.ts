/**
 * npm run pack:testing [-- <folder>]
 *
 * Packs the npm package `@interlock/testing` from this folder into the given folder or `.interlock/`: ES modules for Node 24 and newer,
 * with types.
 */
import { resolve } from 'node:path';
import { packLibrary, repositoryField } from '../../libs/pack/pack-library.ts';
import manifest from './package.json' with { type: 'json' };

const packageManifest = {
  name: manifest.name,
  version: manifest.version,
  description: manifest.description,
  license: manifest.license,
  keywords: ['azure', 'testing', 'key-vault', 'customer-managed-keys', 'emulator', 'testcontainers'],
  type: 'module',
  sideEffects: false,
  // tls.setDefaultCACertificates
  engines: { node: '^22.19.0 || >=24.5.0' },
  exports: { '.': { types: './dist/index.d.ts', default: './dist/index.js' } },
  files: ['dist'],
};

/**
 * @param folder where the package goes; created if it does not exist
 * @param source URL of the repository, if known
 * @returns path of the `.tgz`
 */
export const packTesting = (folder: string, source?: string): string =>
  packLibrary(import.meta.dirname, { ...packageManifest, ...repositoryField(source) }, folder);

if (import.meta.main) console.log(packTesting(resolve(process.argv[2] ?? '.interlock')));
