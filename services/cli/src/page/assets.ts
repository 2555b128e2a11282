import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { style } from '@interlock/lab/report/style';
import { build } from '../commands/build.ts';
import type { Answer } from './door.ts';
import { pageStyle } from './page-style.ts';

/** The script of the page, beside the files of a bundled command line. */
const script = join(import.meta.dirname, 'page-script.js');

/** The files of the page, by their paths. @throws Error if the script cannot be bundled */
export async function pageFiles(): Promise<ReadonlyMap<string, Answer>> {
  return new Map<string, Answer>([
    ['', { type: 'text/html; charset=utf-8', body: document }],
    ['app.js', { type: 'text/javascript; charset=utf-8', body: await scriptText() }],
    ['icon.svg', { type: 'image/svg+xml', body: icon }],
    ['style.css', { type: 'text/css; charset=utf-8', body: style + pageStyle }],
  ]);
}

/** Without a bundle, as in tests, it is made now. */
async function scriptText(): Promise<Uint8Array> {
  if (existsSync(script)) return readFileSync(script);
  const { clone } = build;
  if (clone === undefined) throw new Error(`${script} is missing: install interlock-cli again`);
  const folder = mkdtempSync(join(tmpdir(), 'interlock-page-'));
  try {
    await promisify(execFile)(process.execPath, [join(clone, 'services/cli/bundle-page.ts'), folder]);
    return readFileSync(join(folder, 'page-script.js'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const document = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Interlock</title>
<link rel="icon" href="icon.svg">
<link rel="stylesheet" href="style.css">
<script type="module" src="app.js"></script>
</head>
<body>
<main id="page"><p>This page needs JavaScript.</p></main>
</body>
</html>
`;

const icon =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="5" cy="8" r="3" fill="none" stroke="#2a7a6f" stroke-width="2"/><path d="M8 8h7M13 8v3" stroke="#2a7a6f" stroke-width="2"/></svg>';
