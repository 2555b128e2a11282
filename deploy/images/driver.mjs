/**
 * Checks the Postgres driver of an image, by loading the image's event store with the image's packages.
 * An image without the event store uses no database, so there is nothing to check.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/**
 * @param {string} app the folder that becomes /app, after the packages are installed
 * @param {string} node the Node to run it with
 * @returns {boolean} whether there was a driver to check
 * @throws {Error} if the driver is not patched; its message is on standard error
 */
export function checkDriverOf(app, node = process.execPath) {
  const eventStore = join(app, 'libs/event-store');
  if (!existsSync(join(eventStore, 'node_modules/postgres'))) return false;
  const check = `const { checkDriver } = await import(${JSON.stringify(pathToFileURL(join(eventStore, 'src/driver-check.ts')).href)});
    await checkDriver();`;
  execFileSync(
    node,
    [`--import=${pathToFileURL(join(app, 'without-types.mjs'))}`, '--input-type=module', '--eval', check],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  return true;
}
