import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, normalize, relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { publishedStreams } from '@interlock/host';
import { parseSync } from 'oxc-parser';
import { images } from '../../deploy/images/services.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Every TypeScript file that git tracks or would add, as a path from the root. */
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.ts'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '');

interface Import {
  readonly from: string;
  /** A package name, `node:…`, or a path from the root. */
  readonly to: string;
  /** Whether it imports types only, so that nothing is loaded. */
  readonly isType: boolean;
}

const importsOf = (file: string): readonly Import[] => {
  const text = readFileSync(join(root, file), 'utf8');
  const { module, errors } = parseSync(file, text);
  assert.deepEqual(errors, [], `${file} does not parse`);
  const values = [
    ...module.staticImports
      .filter(({ entries }) => entries.length === 0 || !entries.every(({ isType }) => isType))
      .map((i) => i.moduleRequest.value),
    ...module.staticExports.flatMap((e) => e.entries.flatMap((entry) => entry.moduleRequest?.value ?? [])),
    // Of an `import(…)` the parser gives the place of its argument, which counts if it is a literal.
    ...module.dynamicImports.flatMap(({ moduleRequest: { start, end } }) => {
      const [, literal] = /^'([^']+)'$/.exec(text.slice(start, end)) ?? [];
      return literal ?? [];
    }),
  ];
  const types = module.staticImports
    .filter(({ entries }) => entries.length > 0 && entries.every(({ isType }) => isType))
    .map((i) => i.moduleRequest.value);
  const found = (target: string, isType: boolean): Import => ({
    from: file,
    to: target.startsWith('.') ? normalize(join(dirname(file), target)) : target,
    isType,
  });
  return [...values.map((target) => found(target, false)), ...types.map((target) => found(target, true))];
};

const isTest = (file: string): boolean => /\.test\.ts$|\/fixtures\/|\/test-[^/]*\.ts$/.test(file);
const imports = files.flatMap(importsOf);
const show = (wrong: readonly Pick<Import, 'from' | 'to'>[]): readonly string[] =>
  wrong.map(({ from, to }) => `${from} → ${to}`);
const serviceOf = (path: string): string | undefined => /^services\/([^/]+)\//.exec(path)?.[1];

test('finds the imports between sources and the packages that they import', () => {
  assert.ok(
    imports.some(
      ({ from, to }) => from === 'services/identity/src/main.ts' && to === 'services/identity/src/assemble.ts',
    ),
  );
  assert.ok(imports.some(({ to }) => to === '@interlock/event-store'));
});

test('no file imports itself through others, for types neither', () => {
  const next = Map.groupBy(imports, ({ from }) => from);
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, way: readonly string[]): void => {
    if (way.includes(file)) circles.push([...way.slice(way.indexOf(file)), file].join(' → '));
    else if (!done.has(file)) {
      for (const { to } of next.get(file) ?? []) visit(to, [...way, file]);
      done.add(file);
    }
  };
  for (const file of files) visit(file, []);
  assert.deepEqual(circles, []);
});

test('no suite of tests is asynchronous: a test after an await would run outside of it, after its hooks', () => {
  const isAsync = /\b(describe|suite)\([^\n]*,\s*async\b/;
  const wrong = files.filter((file) => isTest(file) && isAsync.test(readFileSync(join(root, file), 'utf8')));
  assert.deepEqual(wrong, []);
});

test('a service imports libraries and its own files only', () => {
  const wrong = imports.filter(({ from, to }) => {
    const own = serviceOf(from);
    if (own === undefined || isTest(from)) return false;
    const other = serviceOf(to) ?? /^@interlock\/(identity|key-vault|disk-encryption-set|disk|compute)\b/.exec(to)?.[1];
    return other !== undefined && other !== own && !(own === 'cli' && to.startsWith('deploy/'));
  });
  assert.deepEqual(show(wrong), []);
});

test('a library imports no service, no launcher and no end-to-end test', () => {
  const wrong = imports.filter(({ from, to }) => {
    return from.startsWith('libs/') && !isTest(from) && isAboveLibraries(to);
  });
  assert.deepEqual(show(wrong), []);
});

/** Services, launchers and end-to-end tests, by path and by package. */
const isAboveLibraries = (to: string): boolean =>
  /^(services|deploy|e2e)\//.test(to) ||
  /^@interlock\/(cli|compute|disk|disk-encryption-set|e2e|gateway|identity|key-vault|kubernetes|local|testing)(\/|$)/.test(
    to,
  );

test('the lab knows no service and no process: its files and their tests import libraries only', () => {
  const ofLab = imports.filter(({ from }) => from.startsWith('libs/lab/'));
  assert.ok(ofLab.some(({ to }) => to === '@interlock/event-store'));
  assert.deepEqual(show(ofLab.filter(({ to }) => isAboveLibraries(to))), []);
});

test('the command line and its tests import nothing of the end-to-end tests', () => {
  const ofCli = imports.filter(({ from }) => from.startsWith('services/cli/'));
  assert.ok(ofCli.some(({ to }) => to === '@interlock/lab/report/activity/activity-page'));
  assert.deepEqual(show(ofCli.filter(({ to }) => /^e2e\/|^@interlock\/e2e(\/|$)/.test(to))), []);
});

test('the image of the tools has every file that they import', () => {
  const { main, folders = [] } = images.tools ?? assert.fail();
  const next = Map.groupBy(
    imports.filter(({ isType }) => !isType),
    ({ from }) => from,
  );
  const tracked = new Set(files);
  /** The file that an import loads; undefined for what Node or a package of others has, and for generated code. */
  const fileOf = ({ from, to }: Import): string | undefined => {
    const isOwn = to.startsWith('@interlock/');
    const file = isOwn ? relative(root, realpathSync(createRequire(join(root, from)).resolve(to))) : to;
    return tracked.has(file) ? file : undefined;
  };
  const found = new Set([main]);
  for (const file of found)
    for (const each of next.get(file) ?? []) {
      const loaded = fileOf(each);
      if (loaded !== undefined) found.add(loaded);
    }
  for (const file of ['e2e/rehearsal/experiments.ts', 'deploy/local/guests.ts']) assert.ok(found.has(file), file);
  const ignored = readFileSync(join(root, '.containerignore'), 'utf8')
    .split('\n')
    .filter((line) => /^\w/.test(line));
  const isBelow = (file: string, some: readonly string[]): boolean =>
    some.some((folder) => file.startsWith(`${folder}/`));
  const isIn = (file: string): boolean => isBelow(file, ['libs', ...folders]) && !isBelow(file, ignored);
  assert.deepEqual(
    [...found].filter((file) => !isIn(file)),
    [],
  );
});

test('deploy imports neither the command line nor end-to-end tests', () => {
  const wrong = imports.filter(
    ({ from, to }) => from.startsWith('deploy/') && /^(services\/cli|e2e)\/|^@interlock\/(cli|e2e)\b/.test(to),
  );
  assert.deepEqual(show(wrong), []);
});

test('a decider imports only its events, other deciders of its service, and the libraries for access and errors', () => {
  const allowed = /^@interlock\/(access|access\/outcome|event-store|runtime)$/;
  const deciders = imports.filter(({ from }) => from.endsWith('/decider.ts'));
  assert.ok(deciders.length > 0);
  const wrong = deciders.filter(({ from, to }) => {
    if (allowed.test(to)) return false;
    // Within its own service: events, other deciders and pure definitions, never an API, a reactor or published facts.
    const isOwn = serviceOf(to) !== undefined && serviceOf(to) === serviceOf(from);
    return !isOwn || /\/(api|assemble|main|wire|reactor|published)\.ts$/.test(to);
  });
  assert.deepEqual(show(wrong), []);
});

/** Pure definitions of the disk host: sizes, formats of header and token, reasons. The key in force of a set, and losses, are records of the store. */
const vocabularyOfDiskHost =
  /\/host\/(records|storage\/sector|header\/(disk-header-format|header-refs)|data\/access-token|keys\/(key-reasons|key-access|set-keys|set-losses|host-losses))\.ts$/;

test('disk: control code imports the host only as DiskHost, and the host imports no decisions', () => {
  const inDisk = imports.filter(
    ({ from, to }) => serviceOf(from) === 'disk' && serviceOf(to) === 'disk' && !isTest(from),
  );
  const isControl = (path: string): boolean => /^services\/disk\/src\/(disk|snapshot|moves|reconcile)\//.test(path);
  const isHost = (path: string): boolean => path.startsWith('services/disk/src/host/');
  const fromControl = inDisk.filter(({ from, to }) => isControl(from) && isHost(to));
  assert.ok(fromControl.length > 0);
  const allowed = (to: string): boolean => to.endsWith('/host/disk-host.ts') || vocabularyOfDiskHost.test(to);
  assert.deepEqual(show(fromControl.filter(({ to }) => !allowed(to))), []);
  const fromHost = inDisk.filter(({ from, to }) => isHost(from) && isControl(to));
  assert.deepEqual(show(fromHost.filter(({ to }) => !/\/disk\/(encryption|turns)\.ts$/.test(to))), []);
});

/**
 * What a control process of disk loads of the host: records of the store (leases of folders, losses, options and keys of sets), what is
 * published about keys, the form of access tokens, and sizes. Nothing of it touches a volume, a data key or a vault.
 */
const hostInControl =
  /\/host\/(data\/access-token|keys\/(host-losses|key-reasons|set-facts|set-keys|set-losses|set-options)|owner\/lease-row|storage\/sector)\.ts$/;

test('disk: a control process loads nothing of the host but records of the store', () => {
  const loaded = new Set<string>();
  const load = (file: string): void => {
    if (loaded.has(file) || !file.startsWith('services/disk/')) return;
    loaded.add(file);
    for (const { to, isType } of imports.filter(({ from }) => from === file)) if (!isType) load(to);
  };
  load('services/disk/src/routing/assemble-control.ts');
  const ofHost = [...loaded].filter((file) => file.startsWith('services/disk/src/host/'));
  assert.ok(ofHost.length > 0);
  assert.deepEqual(
    ofHost.filter((file) => !hostInControl.test(file)),
    [],
  );
});

/** Rooms of the disk host, the lowest first. A file beside the rooms is a room of its own. */
const roomsOfDiskHost = [
  ...['storage', 'owner', 'cipher', 'header', 'keys', 'records.ts', 'pieces', 'volume', 'background.ts', 'data'],
  ...['nbd', 'nbd/thread', 'disk-host.ts', 'assemble-host.ts'],
];

test('disk: a room of the host imports only rooms below it', () => {
  const host = 'services/disk/src/host/';
  const levelOf = (path: string): number => {
    const inHost = path.slice(host.length);
    return roomsOfDiskHost.indexOf(inHost.includes('/') ? dirname(inHost) : inHost);
  };
  const inHost = imports.filter(({ from, to }) => from.startsWith(host) && to.startsWith(host) && !isTest(from));
  assert.deepEqual(show(inHost.filter(({ from, to }) => levelOf(from) < 0 || levelOf(to) < 0)), [], 'unknown rooms');
  assert.deepEqual(show(inHost.filter(({ from, to }) => levelOf(to) > levelOf(from))), []);
});

test('the folders of the gateway import each other without a cycle', () => {
  const folderOf = (path: string): string => /^services\/gateway\/src\/([^/]+)\//.exec(path)?.[1] ?? '';
  const own = imports.filter(
    ({ from, to }) => serviceOf(from) === 'gateway' && serviceOf(to) === 'gateway' && !isTest(from),
  );
  let left = own.filter(({ from, to }) => folderOf(from) !== folderOf(to));
  assert.ok(left.length > 0);
  // A folder that imports no folder that is left is in no cycle.
  for (let before = Number.POSITIVE_INFINITY; left.length < before; ) {
    before = left.length;
    const importing = new Set(left.map(({ from }) => folderOf(from)));
    left = left.filter(({ to }) => importing.has(folderOf(to)));
  }
  assert.deepEqual(show(left), []);
});

/**
 * Real implementations of seams: the clock, the generator, and the code of worker threads, which cannot receive one as an
 * argument; and the defaults of a published package.
 */
const realSeams =
  /^libs\/runtime\/src\/(clock|random|run|logger)\.ts$|^libs\/otel-jetstream\/(pack|src\/options)\.ts$|^services\/key-vault\/src\/rsa\/(job|worker)\.ts$|^services\/disk\/src\/host\/keys\/thread-gate\.ts$/;

test('only main.ts and the launcher read the environment; other code gets clock and randomness as arguments', () => {
  const reaches = (file: string, pattern: RegExp): boolean =>
    pattern.test(readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, ''));
  const below = files.filter(
    (file) =>
      /^(libs|services)\//.test(file) &&
      !isTest(file) &&
      !realSeams.test(file) &&
      !/\/main\.ts$|^services\/cli\//.test(file),
  );
  const wrong = below.filter((file) =>
    reaches(
      file,
      /\bprocess\.env\b|\bMath\.random\(|\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(|\brandomUUID\(|\brandomBytes\(/,
    ),
  );
  assert.deepEqual(wrong, []);
});

test('a decider uses no promise and no await', () => {
  const wrong = files.filter(
    (file) =>
      file.endsWith('/decider.ts') && /\basync\b|\bawait\b|\bPromise\b/.test(readFileSync(join(root, file), 'utf8')),
  );
  assert.deepEqual(wrong, []);
});

/**
 * Real seams that may use timers, threads, and work that the operating system does outside the event loop. Everything else
 * runs in the simulation, where these would make a history impossible to repeat.
 */
const outsideOfTheSimulation = new RegExp(
  [
    String.raw`libs/runtime/src/(clock|run|virtual-clock|config-readers|renewed-files|user-file|log-lines)\.ts$`,
    String.raw`libs/rpc/src/(token-format|connecting|credentials|receiving|sent-memory)\.ts$`,
    String.raw`libs/event-store/src/(postgres-store|postgres-commit|pool|loop-turns|connection|driver-check|migration)\.ts$`,
    String.raw`libs/messaging/src/nats-bus\.ts$`,
    String.raw`libs/host/src/(probe-server|host-folder|folder-space|build)\.ts$`,
    String.raw`services/compute/src/vm-host/placement-files\.ts$`,
    String.raw`libs/sealing/src/master-key\.ts$`,
    String.raw`libs/pack/(pack-library|tar)\.ts$`,
    String.raw`libs/lab/src/(evidence/|(judge/(journal/lines|conventions/installed-names)|report/experiment/kept-spans|dataset/(format/folder|check/check|export/export-runs))\.ts$)`,
    String.raw`services/key-vault/src/(rsa/[a-z-]+|sealing/file-seal-key-store|hold/history-marks)\.ts$`,
    String.raw`services/disk/src/host/nbd/(transmission|requests|replies|listener|tls-handshakes|thread/(data-thread|thread-export|threaded))\.ts$`,
    String.raw`services/disk/src/host/(storage/file-(block-store|direct-reads|threads|worker)|keys/thread-gate)\.ts$`,
    String.raw`services/disk/src/(host-process|host/(owner/folder-identity|storage/volume-files))\.ts$`,
    String.raw`services/compute/src/(guests/guest-[a-z]+\.ts$|guest/|qemu/)`,
    String.raw`services/gateway/src/(http/connections|loopback/proxy|testing/control)\.ts$`,
  ]
    .map((path) => `^${path}`)
    .join('|'),
);

test('code that the simulation runs uses no timer, thread, file or socket of its own', () => {
  const reaches =
    /\b(setTimeout|setInterval|setImmediate)\(|\bAbortSignal\.timeout\(|\bnextTick\(|\bsubtle\b|\b(generateKeyPair|pbkdf2|scrypt|hkdf|randomFill|generatePrime)\(|from 'node:(worker_threads|child_process|net|tls|http|https|http2|dgram|dns|fs|fs\/promises|timers|timers\/promises|os)'|from 'node:util'.*promisify/;
  const wrong = files.filter(
    (file) =>
      /^(libs|services)\//.test(file) &&
      !isTest(file) &&
      !outsideOfTheSimulation.test(file) &&
      !/\/main\.ts$|^services\/cli\//.test(file) &&
      reaches.test(readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')),
  );
  assert.deepEqual(wrong, []);
});

test('a guest imports only Node, gRPC and a few small modules, because each machine is a process', () => {
  const guest = files.filter((file) => file.startsWith('services/compute/src/guest/') && !isTest(file));
  const loaded = guest.flatMap((from) => {
    const { module } = parseSync(from, readFileSync(join(root, from), 'utf8'));
    return module.staticImports
      .filter(({ entries }) => !entries.every(({ isType }) => isType))
      .map(({ moduleRequest }) => ({ from, to: moduleRequest.value }));
  });
  const allowed =
    /^(node:|\.\/|@grpc\/grpc-js$|@interlock\/contracts\/|@interlock\/runtime\/(clock|renewed|space-error)$|@interlock\/rpc\/credentials$)/;
  assert.ok(loaded.some(({ to }) => to === '@grpc/grpc-js'));
  assert.deepEqual(show(loaded.filter(({ to }) => !allowed.test(to))), []);
});

test("compute's decisions reach guests only through Guests and VmHost, and the code that runs guests imports no decisions", () => {
  const roomOf = (path: string): string => /^services\/compute\/src\/([a-z-]+)\//.exec(path)?.[1] ?? '';
  const isHost = (path: string): boolean => ['guests', 'guest', 'qemu', 'vm-host'].includes(roomOf(path));
  const isDecided = (path: string): boolean => ['vm', 'losses', 'processes', 'disk-service'].includes(roomOf(path));
  const own = imports.filter(({ from }) => serviceOf(from) === 'compute' && !isTest(from));
  const interfaces = ['vm-host', 'guests', 'guest-wire'].map((name) => `services/compute/src/guests/${name}.ts`);
  for (const one of interfaces) assert.ok(own.some(({ from, to }) => isDecided(from) && to === one));
  const wrong = own.filter(
    ({ from, to }) => (isDecided(from) && isHost(to) && !interfaces.includes(to)) || (isHost(from) && isDecided(to)),
  );
  assert.deepEqual(show(wrong), []);
});

test('compute: losses are decided without the processes that carry decisions out', () => {
  const room = (name: string): string => `services/compute/src/${name}/`;
  const wrong = imports.filter(
    ({ from, to }) => from.startsWith(room('losses')) && to.startsWith(room('processes')) && !isTest(from),
  );
  assert.ok(imports.some(({ from, to }) => from.startsWith(room('processes')) && to.startsWith(room('losses'))));
  assert.deepEqual(show(wrong), []);
});

test('publishedStreams lists exactly the categories that each service defines', () => {
  for (const [service, categories] of Object.entries(publishedStreams)) {
    const sources = files.filter((file) => file.startsWith(`services/${service}/src/`) && !/test[-.]/.test(file));
    const named = sources.flatMap((file) =>
      [...readFileSync(join(root, file), 'utf8').matchAll(/: CategoryDefinition<[^=]*> = \{\s+name: '(\w+)'/g)].map(
        ([, name = '']) => name,
      ),
    );
    assert.deepEqual(named.toSorted(), [...categories].toSorted(), service);
  }
});
