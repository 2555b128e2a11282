import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createScope } from '@interlock/runtime';
import { openDataFolder } from './data-folder.ts';
import { startLivePage } from './live-page.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-live-page-'));
after(() => rmSync(root, { recursive: true }));

/** Starts a script as the command line. @returns the first line for the user, and how to stop it */
async function started(script: string) {
  const data = openDataFolder(root);
  data.folder('logs');
  const entry = join(root, 'entry.mjs');
  writeFileSync(entry, script);
  const lines: string[] = [];
  const said = Promise.withResolvers<string>();
  const within = createScope();
  const say = (line: string): void => {
    lines.push(line);
    said.resolve(line);
  };
  await startLivePage({ data, env: process.env, within, say, entry });
  return { first: await said.promise, lines, stop: () => within.close() };
}

test('prints the address of the page, and stops it with the cloud without a word', async () => {
  const { first, lines, stop } = await started(
    "console.log('http://127.0.0.1:1/' + process.argv.slice(2).join('_') + '/'); setInterval(() => {}, 1_000);",
  );
  assert.equal(first, `\nThe live page, only for this computer: http://127.0.0.1:1/page_--data_${root}/`);
  await stop();
  assert.equal(lines.length, 1);
});

test('a page that ends by itself is reported with its log', async () => {
  const { first, stop } = await started('process.exit(3)');
  assert.match(first, /^The live page has ended \(exit status 3, .*page\.log\); interlock page starts it again\.$/);
  await stop();
});
