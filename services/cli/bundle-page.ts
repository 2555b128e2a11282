/**
 * node services/cli/bundle-page.ts <folder>
 *
 * Bundles the script of the live page into `page-script.js` of the folder.
 */
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const entry = join(repository, 'services/cli/page/main.tsx');

/** @returns paths of the files it was made from, those of npm packages as well */
export async function bundlePage(folder: string): Promise<readonly string[]> {
  const bundled = await rolldown({
    input: entry,
    cwd: repository,
    platform: 'browser',
    transform: { target: 'es2022' },
    treeshake: { moduleSideEffects: (id) => id.includes('node_modules/') || id === entry },
    logLevel: 'warn',
  });
  try {
    await bundled.write({ file: join(folder, 'page-script.js'), format: 'esm', minify: true });
    return (await bundled.watchFiles).filter((file) => file.startsWith(repository));
  } finally {
    await bundled.close();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , folder] = process.argv;
  if (folder === undefined) throw new Error('Usage: node services/cli/bundle-page.ts <folder>');
  await bundlePage(resolve(folder));
}
