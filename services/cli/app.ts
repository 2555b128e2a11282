import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { copySources, prune, takeTypesOut } from '../../deploy/images/sources.mjs';

const repository = fileURLToPath(new URL('../..', import.meta.url));

/** Installs the packages of the lockfile, as deploy/local/bootstrap.mjs. */
export const packageManager = 'pnpm@12.21.0';

/** Folders of the repository that commands of the command line run scripts of. */
const folders = [
  ...['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute', 'gateway'].map((name) => `services/${name}`),
  ...['local', 'kubernetes', 'guest-image'].map((name) => `deploy/${name}`),
  ...['canary', 'cloud', 'experiments', 'qemu', 'rehearsal', 'simulation'].map((name) => `e2e/${name}`),
  'e2e/package.json',
];

/** What of these folders only maintainers use: planted bugs, and runs of tests. */
const unused = [
  'deploy/local/test-run',
  'e2e/simulation/mutants',
  'e2e/experiments/simulated/mutants',
  'libs/pack',
  'e2e/experiments/traps',
];

/**
 * Lays out, in a new folder, everything that `up`, `experiment run` and other commands run as processes of their own: the services,
 * the launcher, the simulation, and the npm packages that they use with the versions (and the patch) of the lockfile. The paths are
 * those of the repository. Files are plain JavaScript: Node strips no types of installed packages.
 * @param revision commit of the sources, for `--version` of the services
 * @throws Error if packages cannot be installed, or the Postgres driver lacks its patch
 */
export const layOutApp = (app: string, revision: string): void => {
  mkdirSync(app);
  copySources(folders, app);
  for (const name of unused) rmSync(join(app, name), { recursive: true, force: true });
  takeTypesOut(app);
  for (const file of filesOf(app)) if (file.endsWith('.ts')) makePlain(app, file);
  installPackages(app);
  const check = `const { checkDriver } = await import(${JSON.stringify(pathToFileURL(join(app, 'libs/event-store/src/driver-check.js')))}); await checkDriver();`;
  execFileSync(process.execPath, ['--input-type=module', '--eval', check], { stdio: ['ignore', 'ignore', 'inherit'] });
  writeFileSync(join(app, 'revision'), `${revision}\n`);
};

const filesOf = (folder: string): readonly string[] =>
  readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));

/**
 * Renames `.ts` to `.js`, also where another file names it, and imports packages of the workspace by path: an npm package contains
 * no links, with which a workspace has them in node_modules.
 */
const makePlain = (app: string, file: string): void => {
  const { resolve } = createRequire(join(repository, file));
  const pathTo = (name: string): string => {
    const path = relative(dirname(join(repository, file)), resolve(name));
    return path.startsWith('.') ? path : `./${path}`;
  };
  const text = readFileSync(join(app, file), 'utf8')
    .replaceAll(
      /(\bfrom |\bimport |\bimport\()(['"])(@interlock\/[\w./-]+)\2/g,
      (_, keyword, quote, name) => `${keyword}${quote}${pathTo(name)}${quote}`,
    )
    .replaceAll(/\.ts(?=['"`])/g, '.js');
  writeFileSync(join(app, file), text);
  renameSync(join(app, file), join(app, file.replace(/\.ts$/, '.js')));
};

/** Removes the tests and benchmarks that npm packages contain: 5 MB of 50. */
const removeTests = (modules: string): void => {
  const packages = readdirSync(modules).flatMap((name) =>
    name.startsWith('@') ? readdirSync(join(modules, name)).map((one) => join(name, one)) : [name],
  );
  for (const name of packages)
    for (const folder of ['test', 'tests', 'benchmark', 'benchmarks', 'examples'])
      rmSync(join(modules, name, folder), { recursive: true, force: true });
};

/** Installs what the sources need to run into `node_modules`, without links and without Postgres, which is different on each platform. */
const installPackages = (app: string): void => {
  const packages = folders.filter((name) => name.startsWith('services/')).map((name) => `@interlock/${name.slice(9)}`);
  const filters = [...packages, '@interlock/local', '@interlock/kubernetes', '@interlock/e2e'].flatMap((name) => [
    '--filter',
    `${name}...`,
  ]);
  const install = ['install', '--prod', '--no-optional', '--frozen-lockfile', '--prefer-offline', '--loglevel=error'];
  execFileSync('npx', ['-y', packageManager, ...install, '--config.node-linker=hoisted', ...filters], {
    cwd: app,
    env: { ...process.env, CI: 'true' },
    stdio: ['ignore', 2, 2],
  });
  for (const name of ['.bin', '.modules.yaml', '.pnpm', '.pnpm-workspace-state-v1.json', '@interlock'])
    rmSync(join(app, 'node_modules', name), { recursive: true, force: true });
  for (const group of ['libs', 'services', 'deploy'])
    for (const name of readdirSync(join(app, group)))
      rmSync(join(app, group, name, 'node_modules'), { recursive: true, force: true });
  rmSync(join(app, 'e2e/node_modules'), { recursive: true, force: true });
  for (const file of ['pnpm-lock.yaml', 'pnpm-workspace.yaml']) rmSync(join(app, file));
  removeTests(join(app, 'node_modules'));
  // Licences stay, because the package distributes what they are for.
  prune(join(app, 'node_modules'), /^(licen[cs]e|notice|copying)/i);
};
