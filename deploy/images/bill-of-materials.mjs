import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { stableBill } from './stable-bill.mjs';

/**
 * The software bill of materials of an image, CycloneDX 1.7: every npm package in it as pnpm lists them from the
 * lockfile, Node itself, and the packages of the base that contain the shared libraries. It has no time and no random
 * serial number, so that the same image has the same bill.
 * @param name of the image
 * @param fromPnpm what `pnpm sbom` wrote
 * @param libraries absolute paths in the base
 */
export function billOfMaterials({ name, root, app, libraries, fromPnpm }) {
  const { metadata, ...bill } = stableBill(fromPnpm);
  const installed = (component) => isInstalled(app, component);
  const node = {
    type: 'application',
    name: 'node',
    version: process.versions.node,
    purl: `pkg:generic/node@${process.versions.node}`,
    'bom-ref': `pkg:generic/node@${process.versions.node}`,
    hashes: [{ alg: 'SHA-256', content: sha256(join(root, 'usr/local/bin/node')) }],
    licenses: [{ license: { id: 'MIT' } }],
    properties: Object.entries(process.versions).map(([part, version]) => ({
      name: `node:bundled:${part}`,
      value: version,
    })),
  };
  const system = packagesOf(libraries).map(({ name: pkg, version, architecture, source }) => ({
    type: 'library',
    name: pkg,
    version,
    purl: `pkg:deb/debian/${pkg}@${encodeURIComponent(version)}?arch=${architecture}`,
    'bom-ref': `pkg:deb/debian/${pkg}@${encodeURIComponent(version)}?arch=${architecture}`,
    properties: [{ name: 'debian:source', value: source }],
  }));
  return {
    ...bill,
    metadata: {
      tools: metadata.tools,
      component: {
        type: 'container',
        name: `interlock/${name}`,
        version: metadata.component.version,
        'bom-ref': `interlock/${name}`,
      },
    },
    components: [...bill.components.filter(installed), node, ...system].sort((a, b) =>
      a['bom-ref'] < b['bom-ref'] ? -1 : 1,
    ),
  };
}

/** Whether the image really has a package: the lockfile lists optional parts of other platforms too. */
function isInstalled(app, { group, name, version }) {
  const full = group === undefined ? name : `${group}/${name}`;
  if (group === '@interlock') return true;
  const folder = join(app, 'node_modules/.pnpm');
  const prefix = `${full.replace('/', '+')}@${version}`;
  return (
    existsSync(join(folder, prefix)) || execFileSync('ls', [folder], { encoding: 'utf8' }).includes(`\n${prefix}_`)
  );
}

/** The Debian packages that own these files. @throws Error for a file without an owner */
function packagesOf(files) {
  const owners = ownersOfFiles();
  const names = new Set(
    files.map((file) => {
      const owner = owners.get(realpathSync(file)) ?? owners.get(file);
      if (owner === undefined) throw new Error(`no package of the base owns ${file}`);
      return owner;
    }),
  );
  return [...names].sort().map((name) => {
    // Placeholders of dpkg, not of JavaScript.
    const fields = ['Package', 'Version', 'Architecture', 'source:Package'].map((field) => `$\{${field}}`).join('\t');
    const [pkg, version, architecture, source] = dpkg(['-W', `-f=${fields}`, name]).split('\t');
    return { name: pkg, version, architecture, source };
  });
}

/** Real path of each shared library dpkg knows → its package. Lists may name a file by a folder that is a link by now. */
function ownersOfFiles() {
  const folder = '/var/lib/dpkg/info';
  const owners = new Map();
  for (const list of readdirSync(folder).filter((name) => name.endsWith('.list'))) {
    for (const file of readFileSync(join(folder, list), 'utf8').split('\n')) {
      if (/\.so(\.|$)/.test(file) && existsSync(file)) owners.set(realpathSync(file), list.slice(0, -'.list'.length));
    }
  }
  return owners;
}

const dpkg = (args) => execFileSync('dpkg-query', args, { encoding: 'utf8' });
const sha256 = (path) => createHash('sha256').update(readFileSync(path)).digest('hex');
