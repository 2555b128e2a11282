/**
 * node deploy/images/assemble.mjs <image> <folder>
 *
 * Lays out the root of one image in an empty folder; runs inside the build container (deploy/Containerfile). Two runs on
 * the same sources, packages and base lay out the same files with the same content.
 *
 * ```
 * /usr/local/bin/node          the Node of the lockfile
 * /lib, /lib64, /usr/lib …     the shared libraries it is linked to, from the base
 * /etc/passwd, /etc/group      one user, 10001
 * /tmp                         empty; writable for every user
 * /app                         main.mjs, the workspace packages without their types, node_modules, sbom.cdx.json
 * ```
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { billOfMaterials } from './bill-of-materials.mjs';
import { checkDriverOf } from './driver.mjs';
import { images } from './services.mjs';
import { copySources, prune, takeTypesOut } from './sources.mjs';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const [, , name, root] = process.argv;
const image = Object.hasOwn(images, name ?? '') ? images[name] : undefined;
if (image === undefined || root === undefined) {
  console.error(`Usage: node deploy/images/assemble.mjs <image> <folder>; images: ${Object.keys(images).join(', ')}`);
  process.exit(1);
}

const app = join(root, 'app');
mkdirSync(app, { recursive: true });
copySources(image.folders, app);
takeTypesOut(app);
copyTo('/app/without-types.mjs', fileURLToPath(new URL('without-types.mjs', import.meta.url)));
installPackages();
const node = realpathSync(process.execPath);
const hasDriver = checkDriverOf(app, node);
console.log(`${name}: ${hasDriver ? 'the Postgres driver has its patch' : 'no Postgres driver'}`);
copyTo('/usr/local/bin/node', node);
const libraries = librariesOf(node);
for (const library of libraries) copyTo(library, realpathSync(library));
addUser();
const scratch = join(root, 'tmp');
mkdirSync(scratch);
// The umask reduces the mode of mkdir.
chmodSync(scratch, 0o1777);
writeFileSync(
  join(app, 'main.mjs'),
  `// Resolves where this file is, and so wherever the image was unpacked.\nawait import('./${image.main}');\n`,
);
const bill = billOfMaterials({ name, root, app, libraries, fromPnpm: pnpmBill() });
writeFileSync(join(app, 'sbom.cdx.json'), `${JSON.stringify(bill, undefined, 1)}\n`);

/** Installs what the packages need to run, without tools that build or test them. */
function installPackages() {
  const filters = image.packages.flatMap((one) => ['--filter', `${one}...`]);
  const optional = image.hasOptional ? [] : ['--no-optional'];
  const install = ['install', '--prod', ...optional, '--frozen-lockfile', '--prefer-offline', '--loglevel=error'];
  run('pnpm', [...install, ...filters], app);
  // Time and source of the installation: useless in an image, and different each time.
  for (const file of ['node_modules/.modules.yaml', 'node_modules/.pnpm-workspace-state-v1.json'])
    rmSync(join(app, file), { force: true });
  for (const file of ['pnpm-lock.yaml', 'pnpm-workspace.yaml']) rmSync(join(app, file));
  removeNodeOfClone();
  prune(join(app, 'node_modules/.pnpm'));
}

/** With optional packages pnpm also installs those of the root, which are Node. The image has it as /usr/local/bin/node. */
function removeNodeOfClone() {
  for (const folder of ['node_modules', 'node_modules/.pnpm']) {
    for (const entry of readdirSync(join(app, folder)).filter((one) => /^node-(bin-)?(linux|darwin)-/.test(one)))
      rmSync(join(app, folder, entry), { recursive: true });
  }
  rmSync(join(app, 'node_modules/.bin'), { recursive: true, force: true });
}

function pnpmBill() {
  const filters = image.packages.flatMap((one) => ['--filter', one]);
  const bills = run(
    'pnpm',
    [
      'sbom',
      '--sbom-format',
      'cyclonedx',
      '--prod',
      ...(image.hasOptional ? [] : ['--no-optional']),
      '--lockfile-only',
      ...filters,
    ],
    repository,
  );
  return JSON.parse(bills);
}

/** Absolute paths of the shared libraries a program is linked to, the loader included. */
function librariesOf(program) {
  const lines = run('ldd', [program], '/').split('\n');
  const found = lines.flatMap((line) => /(?:=>\s*)?(\/\S+)\s+\(0x/.exec(line)?.[1] ?? []);
  if (!found.some((path) => path.includes('libc.so'))) throw new Error(`ldd printed nothing for ${program}`);
  return [...new Set(found)].sort();
}

function copyTo(target, source) {
  const path = join(root, target);
  mkdirSync(dirname(path), { recursive: true });
  if (!existsSync(path)) cpSync(source, path);
  if (lstatSync(path).isSymbolicLink()) throw new Error(`${target} is still a link`);
}

function addUser() {
  mkdirSync(join(root, 'etc'), { recursive: true });
  writeFileSync(join(root, 'etc/passwd'), 'interlock:x:10001:10001::/data:/nonexistent\n');
  writeFileSync(join(root, 'etc/group'), 'interlock:x:10001:\n');
  cpSync(join(repository, 'LICENSE'), join(root, 'app/LICENSE'));
  const release = '/etc/os-release';
  if (existsSync(release)) writeFileSync(join(root, 'etc/os-release'), readFileSync(release));
}

function run(command, args, cwd) {
  return execFileSync(command, args, {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 2 ** 28,
  });
}
