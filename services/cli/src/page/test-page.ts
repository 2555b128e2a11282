import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { systemClock } from '@interlock/runtime';
import { type Browser, chromium, type Page } from 'playwright-core';
import { pageFiles } from './assets.ts';
import { type Door, openDoor } from './door.ts';
import { experimentAnswer } from './experiment.ts';
import { impactAnswer } from './impact.ts';
import { LiveRows } from './live-rows.ts';
import { PageReader } from './page-reader.ts';
import { group, short, type TestCloud } from './test-cloud.ts';
import { viewersOf } from './viewers.ts';

const names = ['chromium', 'chromium-browser', 'google-chrome'];
const found = (process.env.PATH ?? '').split(delimiter).flatMap((folder) => names.map((name) => join(folder, name)));

/** The browser of this machine; undefined without one. */
const chromiumPath: string | undefined = found.find(existsSync);

/** Why tests in a browser are skipped; false: they are not. */
export const withoutBrowser: string | false = chromiumPath === undefined ? 'no chromium in PATH' : false;

/** Starts the browser of this machine. */
export const openBrowser = (): Promise<Browser> =>
  // Root has no sandbox; the page is our own.
  chromium.launch({ executablePath: chromiumPath ?? '', args: ['--no-sandbox'] });

/** A served page of a test cloud, which is read when the test says so. */
export interface TestPage {
  readonly address: string;
  readonly rows: LiveRows;
  /** Reads the cloud once. */
  readonly look: () => Promise<void>;
  /** Ends the server; its address stays. */
  readonly end: () => Promise<void>;
  /** Starts another server at the same address. */
  readonly again: () => Promise<void>;
}

const token = 'token-of-a-test-page';
/** Serves the page of a cloud. @param data its data folder */
export async function testPage(cloud: TestCloud, data?: string): Promise<TestPage> {
  const files = await pageFiles();
  let door: Door | undefined;
  let rows = new LiveRows();
  let reader: PageReader;
  const open = async (port: number): Promise<Door> => {
    rows = new LiveRows();
    reader = new PageReader({
      caller: cloud,
      rows,
      clock: systemClock,
      parent: group,
      title: 'g',
      windowMs: 600_000,
      short,
    });
    const viewers = viewersOf(rows, crypto.randomUUID(), systemClock);
    const answer = async (path: string) =>
      path.startsWith('traces/')
        ? { type: 'application/json', body: '[]' }
        : (files.get(path) ?? experimentAnswer(path, data) ?? impactAnswer(path, { caller: cloud, short }));
    return openDoor({ answer, stream: viewers.add }, { port, token });
  };
  door = await open(0);
  const { address, port } = door;
  return {
    address,
    get rows() {
      return rows;
    },
    look: () => reader.look(),
    end: async () => door?.close(),
    again: async () => {
      door = await open(port);
    },
  };
}

/** Opens a page in a browser and collects what is wrong with it. */
export async function openPage(
  browser: Browser,
  address: string,
  options: { readonly width: number; readonly height?: number; readonly scheme?: 'light' | 'dark' },
): Promise<{ readonly page: Page; readonly problems: readonly string[] }> {
  const { width, height = 900, scheme = 'light' } = options;
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme });
  const page = await context.newPage();
  const problems: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') problems.push(message.text());
  });
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('request', (request) => {
    if (!request.url().startsWith(new URL('/', address).href)) problems.push(`loads ${request.url()}`);
  });
  await page.goto(address);
  return { page, problems };
}
