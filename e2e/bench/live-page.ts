import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { LauncherError, repository } from '@interlock/local/data-folder.ts';
import type { Scope } from '@interlock/runtime';
import type { Browser, Page } from 'playwright-core';
import { openBrowser, withoutBrowser } from '../../services/cli/src/page/test-page.ts';
import { until } from '../cloud/until.ts';
import { benchOf } from './bench.ts';
import type { Fleet } from './fleet/fleet.ts';
import { openFleet } from './fleet/open-fleet.ts';
import { memoryMibOf } from './fleet/processes.ts';
import { percentile, rounded } from './measure.ts';

/**
 * Milliseconds from the event that a machine stopped until the page in Chromium shows it. `size` is the number of machines. Floor,
 * alternately: a page with one line that a server-sent event changes, from sending it until it is shown.
 */
export const livePage = benchOf(
  { name: 'live-page', unit: 'ms', sizes: [1, 10_000, 100_000], smoke: 1, isOfCloud: true },
  async ({ size, options, scope, rounds }) => {
    if (withoutBrowser !== false) throw new LauncherError(`live-page needs a browser: ${withoutBrowser}.`);
    // Of a fleet of which so many would stop by a key, a third more do not: this is one of them.
    const fleet = await openFleet(options, Math.max(1, Math.round((size * 2) / 3)), scope);
    const kept = fleet.machines(({ stops }) => !stops);
    const machine = kept[0]?.name ?? '';
    const browser = await openBrowser();
    scope.defer('browser', () => browser.close());
    const { address, server } = await servePage(fleet, scope);
    const opened = [];
    for (let n = 0; n < 3; n++) opened.push(await openedPage(browser, address, kept.length));
    const page = opened.at(-1)?.page as Page;
    const floor = await openFloor(browser, scope);
    const middle = (times: readonly number[]): number => rounded(percentile(times, 0.5));
    const samples = await rounds(20, async () => ({
      value: await stopShown(fleet, machine, page),
      floor: await floor(),
    }));
    const values = samples.map(({ value }) => value);
    const heap = await page.evaluate<number>('performance.memory.usedJSHeapSize');
    const details = {
      p95: rounded(percentile(values, 0.95)),
      firstPaintMs: middle(opened.map(({ paintMs }) => paintMs)),
      contentMs: middle(opened.map((one) => one.contentMs)),
      machines: fleet.machines().length,
      serverMib: memoryMibOf(server, 'VmHWM'),
      browserHeapMib: Math.round(heap / 2 ** 20),
    };
    return { values, floors: samples.map((sample) => sample.floor), details };
  },
);

/** Starts `interlock page` on the group of a fleet. */
const servePage = async (
  fleet: Fleet,
  scope: Scope,
): Promise<{ readonly address: string; readonly server: number }> => {
  const main = join(repository, 'services/cli/src/main.ts');
  const [, subscription = '', , group = ''] = fleet.place.group.split('/');
  const flags = ['--data', fleet.data.root, '--subscription', subscription, '--group', group];
  const server: ChildProcess = spawn(process.execPath, [main, 'page', ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  scope.defer('page', () => {
    server.kill();
  });
  const { stdout, pid } = server;
  if (stdout === null || pid === undefined) throw new Error('interlock page did not start');
  for await (const address of createInterface({ input: stdout })) return { address, server: pid };
  throw new Error('interlock page ended without an address');
};

/** Opens the page. Times in milliseconds since the navigation, `contentMs` until the running machines of a key are counted. */
const openedPage = async (browser: Browser, address: string, running: number) => {
  const page = await browser.newPage();
  await page.goto(address);
  await shownAt(page, `${running.toLocaleString('en')} running`);
  const [paintMs = Number.NaN, contentMs = Number.NaN] = await page.evaluate<number[]>(
    "[performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN, performance.now()]",
  );
  return { page, paintMs, contentMs };
};

/** When `#now` includes a text, or no longer, and that is drawn; in milliseconds since the epoch. */
const shownAt = (page: Page, text: string, isThere = true): Promise<number> =>
  page.evaluate<number>(`new Promise((resolve) => {
    const look = () => {
      if (document.querySelector('#now')?.textContent.includes(${JSON.stringify(text)}) !== ${isThere}) return;
      observer.disconnect();
      requestAnimationFrame(() => resolve(Date.now()));
    };
    const observer = new MutationObserver(look);
    observer.observe(document.body, { subtree: true, childList: true, characterData: true });
    look();
  })`);

/** Powers a machine off and starts it again. @returns milliseconds from the event of its stop until the page shows it */
const stopShown = async ({ clients: { compute } }: Fleet, name: string, page: Page): Promise<number> => {
  await page.bringToFront();
  const shown = shownAt(page, '1 stopped');
  await compute.powerOffVirtualMachine({ name });
  const atMs = await shown;
  const { stopTime } = await compute.getVirtualMachine({ name });
  const started = shownAt(page, '1 stopped', false);
  await compute.startVirtualMachine({ name });
  await until(`${name} runs`, async () => (await compute.getVirtualMachine({ name })).powerState === 'RUNNING');
  await started;
  // Until the page has read everything that belongs to the start.
  await delay(2_000);
  return atMs - (stopTime?.getTime() ?? Number.NaN);
};

/** A page with one line, and what changes the line. @returns milliseconds until the change is shown */
const openFloor = async (browser: Browser, scope: Scope): Promise<() => Promise<number>> => {
  const body = `<p id="now">0</p><script>
    new EventSource('/events').onmessage = ({ data }) => { document.querySelector('#now').textContent = data; };
  </script>`;
  let send: (text: string) => void = () => undefined;
  const server = createServer(({ url }, response) => {
    response.writeHead(200, { 'content-type': url === '/events' ? 'text/event-stream' : 'text/html' });
    if (url === '/events') {
      response.flushHeaders();
      send = (text) => response.write(`data: ${text}\n\n`);
    } else response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  scope.defer('floor', () => {
    server.closeAllConnections();
    server.close();
  });
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, { waitUntil: 'load' });
  let sent = 0;
  return async () => {
    await page.bringToFront();
    sent += 1;
    const shown = shownAt(page, `line ${sent}.`);
    await delay(100);
    const startMs = Date.now();
    send(`line ${sent}.`);
    return (await shown) - startMs;
  };
};
