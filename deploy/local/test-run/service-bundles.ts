import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Plugin, rolldown } from 'rolldown';
import { bundleOf } from '../bundled-entry.ts';
import { entryOf, gatewayEntry, serviceNames, vmHostEntry } from '../services.ts';

/**
 * Bundles the services, the gateway, VM hosts, and the guests and threads that they start, into a folder. A service loads some 600
 * files of TypeScript, which takes half a second of a processor, and its bundle a third of that; a test run starts hundreds.
 * `startService` runs the bundles if `INTERLOCK_BUNDLES` names the folder.
 * @param folder created if missing. Files that have not changed stay as they are, so that the code that Node compiled for them is
 * used again, and another run of this clone can use the folder at the same time.
 * @param root folder of the repository
 * @throws Error if a source cannot be bundled
 */
export const bundleServices = async (folder: string, root: string): Promise<void> => {
  const entries = [...serviceNames.map(entryOf), gatewayEntry, vmHostEntry];
  const bundled = await rolldown({
    input: Object.fromEntries(entries.map((entry) => [bundleOf(entry, root), entry])),
    cwd: root,
    platform: 'node',
    // Some packages have a `main` that requires its parts in a way that no bundler follows, and a `module`.
    resolve: { mainFields: ['module', 'main'] },
    transform: { target: 'node24' },
    plugins: [placesOfSources(root, folder)],
    logLevel: 'warn',
  });
  try {
    const names = { entryFileNames: '[name]', chunkFileNames: '[name]-[hash].js' };
    const { output } = await bundled.generate({ format: 'esm', ...names });
    for (const part of output) {
      if (part.type !== 'chunk')
        throw new Error(`${part.fileName} is not code: the services import a file of another kind`);
      replaceFile(join(folder, part.fileName), part.code);
    }
    // Without it Node reads each file twice to find out its module type.
    replaceFile(join(folder, 'package.json'), '{ "type": "module" }\n');
    removeOthers(folder, new Set([...output.map(({ fileName }) => fileName), 'package.json']));
  } finally {
    await bundled.close();
  }
};

/** Parts of earlier bundles, which another run may still load, are kept for a day, in milliseconds. */
const KEPT_MS = 86_400_000;

const removeOthers = (folder: string, current: ReadonlySet<string>): void => {
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const file = join(folder, name);
    if (name.endsWith('.js') && !current.has(name) && Date.now() - statSync(file).mtimeMs > KEPT_MS) rmSync(file);
  }
};

/** Names a file when it is complete: a service may be loading it. */
const replaceFile = (file: string, text: string): void => {
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return;
  mkdirSync(dirname(file), { recursive: true });
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, text);
  renameSync(draft, file);
};

/** A program or thread that a source starts, or the place of the source. */
const place = /new URL\((['"])(\.[\w./-]+\.ts)\1, import\.meta\.url\)|\bimport\.meta\.(url|dirname)\b/g;

/** In a bundle, `import.meta` is that of the source. A program or thread that a source starts is bundled too. */
const placesOfSources = (root: string, folder: string): Plugin => ({
  name: 'places-of-sources',
  transform(code, id) {
    if (!id.startsWith(root) || id.includes('node_modules/') || !code.includes('import.meta.')) return undefined;
    const changed = code.replaceAll(place, (_, _quote, started: string | undefined, property) => {
      if (started === undefined) return JSON.stringify(property === 'url' ? pathToFileURL(id).href : dirname(id));
      const source = resolve(dirname(id), started);
      const fileName = bundleOf(source, root);
      this.emitFile({ type: 'chunk', id: source, fileName });
      return `new URL(${JSON.stringify(pathToFileURL(join(folder, fileName)).href)})`;
    });
    // No mappings: bundles have none.
    return { code: changed, map: { mappings: '' } };
  },
});
