import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { Browser, Page } from 'playwright-core';
import { pageFiles } from './assets.ts';
import { TestCloud } from './test-cloud.ts';
import { openBrowser, openPage, type TestPage, testPage, withoutBrowser } from './test-page.ts';

const shots = process.env.PAGE_SCREENSHOTS;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

test('the files of the page have at most 150 kB, compressed', async () => {
  const bytes = [...(await pageFiles()).values()].map(({ body }) => gzipSync(body).length);
  const total = bytes.reduce((a, b) => a + b);
  assert.ok(total <= 150_000, `${total} bytes`);
});

let browser: Browser;
const pages: TestPage[] = [];
before(async () => {
  if (!withoutBrowser) browser = await openBrowser();
});
after(async () => {
  await browser?.close();
  for (const one of pages) await one.end();
});

const served = async (cloud: TestCloud): Promise<TestPage> => {
  const one = await testPage(cloud);
  pages.push(one);
  await one.look();
  return one;
};
const see = (page: Page, text: string | RegExp) => page.getByText(text).first().waitFor();
const shoot = async (page: Page, name: string): Promise<void> => {
  if (shots !== undefined) await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });
};

describe('the live page in a browser during a revocation', { skip: withoutBrowser }, () => {
  test('a revocation is watched from the loss to the return, without an error in the console', async () => {
    const cloud = new TestCloud(3, Date.now);
    const { address, look } = await served(cloud);
    const { page, problems } = await openPage(browser, address, { width: 1440 });
    await see(page, 'The platform stopped no machine of g because of a key.');
    await shoot(page, 'running');
    cloud.disable();
    await look();
    await see(
      page,
      /The platform stopped 3 of 4 machines, the last was off 800 ms after access was lost; 3 of them do not run now/,
    );
    await see(page, 'KEY_DISABLED since');
    await see(page, 't0: key disabled');
    assert.match((await page.locator('.figures').textContent()) ?? '', /60 s[\s\S]*150 ms[\s\S]*800 ms/);
    await see(page, 'refused: KEY_DISABLED');
    await shoot(page, 'lost');
    cloud.restore();
    await look();
    await see(page, 'access given back');
    cloud.start();
    await look();
    await see(page, /all of them run again/);
    await shoot(page, 'back');
    assert.deepEqual(problems, []);
  });

  test('a stopped machine opens its reason and cause by keyboard, and no button changes anything', async () => {
    const cloud = new TestCloud(2, Date.now);
    cloud.disable();
    const { address } = await served(cloud);
    const { page, problems } = await openPage(browser, address, { width: 1440 });
    await see(page, 'Stopped by the platform');
    const methods: string[] = [];
    page.on('request', (request) => methods.push(request.method()));
    await page.getByRole('button', { name: 'vm1' }).first().focus();
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog');
    await dialog.getByText('No spans of this trace are kept here.').waitFor();
    assert.match(
      (await dialog.textContent()) ?? '',
      /KEY_DISABLED[\s\S]*kv1\/k1[\s\S]*KeyUpdate: disable every version, by Olga/,
    );
    await shoot(page, 'why');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    for (const button of await page.getByRole('button').all())
      if (await button.isVisible()) await button.click({ trial: true });
    assert.deepEqual([...new Set(methods)], ['GET']);
    assert.deepEqual(problems, []);
  });

  test('when the cloud ends the page says so and keeps what it has, and it continues when it returns', async () => {
    const cloud = new TestCloud(2, Date.now);
    const { address, look, end, again } = await served(cloud);
    const { page } = await openPage(browser, address, { width: 1440 });
    await see(page, /live, /);
    cloud.end(true);
    await look();
    await see(page, /the cloud has ended or does not respond since/);
    await see(page, /2 running/);
    cloud.end(false);
    cloud.disable();
    await look();
    await see(page, /The platform stopped 2 of 3 machines/);
    await end();
    await see(page, /not connected since/);
    await see(page, /The platform stopped 2 of 3 machines/);
    cloud.restore();
    await again();
    await look();
    await see(page, 'access given back');
    await see(page, /live, /);
  });
});

describe('reads and writes on the live page', { skip: withoutBrowser }, () => {
  test('each group has a chart with its rate, failures and durations, also as a sentence', async () => {
    const cloud = new TestCloud(3, Date.now);
    cloud.disable();
    const { address } = await served(cloud);
    const { page, problems } = await openPage(browser, address, { width: 1440 });
    await page.getByRole('button', { name: 'whole time' }).waitFor();
    await see(
      page,
      /\d+ operations a second, the slowest took \d+(\.\d)? ms, 6 failed, in the last 10 s \(vm1, vm2 of 3\)/,
    );
    const chart = page.getByRole('img', { name: /^des1: operations a second, failures and durations over time/ });
    assert.equal(await chart.locator('canvas').count(), 1);
    // A chart without lines would have few colours.
    const colors = (await chart.locator('canvas').evaluate((canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return new Set(Array.from({ length: data.length / 4 }, (_, n) => data.slice(n * 4, n * 4 + 3).join())).size;
    })) as number;
    assert.ok(colors > 20, `${colors} colours`);
    await shoot(page, 'io');
    assert.deepEqual(problems, []);
  });
});

describe('the live page before a loss', { skip: withoutBrowser }, () => {
  test('before a key is taken away the page shows what would stop, and the command to copy', async () => {
    const cloud = new TestCloud(30, Date.now);
    const { address } = await served(cloud);
    const { page, problems } = await openPage(browser, address, { width: 1440 });
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    const field = page.getByLabel('Suppose that');
    await field.fill('key kv1/k1');
    await see(page, /^If every version of kv1\/k1 were disabled.*: 30 machines would stop/);
    await see(page, 'Machines that stop: 30');
    await page.getByLabel('What happens to it').selectOption({ label: 'is deleted' });
    await see(page, /^If kv1\/k1 were deleted: 30 machines would stop/);
    const command = 'npx interlock key delete kv1/k1';
    await page.locator('.command', { hasText: command }).getByRole('button').click();
    await see(page, 'Copied');
    assert.equal(await page.evaluate('navigator.clipboard.readText()'), command);
    await shoot(page, 'before');
    await field.fill('host h1');
    await see(page, /^Depends on h1: 31 machines/);
    await field.fill('something');
    await see(page, 'For example: key kv1/k1');
    cloud.forbid('PreviewImpact');
    await field.fill('vault kv1');
    await see(page, /^Not known: /);
    assert.deepEqual(problems, []);
  });
});

describe('how the live page looks in a browser', { skip: withoutBrowser }, () => {
  test('at 320 pixels nothing scrolls sideways, in light and dark', async () => {
    const cloud = new TestCloud(3, Date.now);
    cloud.disable();
    const { address } = await served(cloud);
    for (const scheme of ['light', 'dark'] as const) {
      const { page } = await openPage(browser, address, { width: 320, scheme });
      await openAll(page);
      await page.getByLabel('Suppose that').fill('key kv1/k1');
      await see(page, 'Machines that stop: 3');
      const [content, screen] = (await page.evaluate('[document.documentElement.scrollWidth, innerWidth]')) as [
        number,
        number,
      ];
      assert.ok(content <= screen, `${content} of ${screen} pixels`);
      await shoot(page, `320-${scheme}`);
    }
  });

  test('axe finds no violation of WCAG 2.2 AA, in light and dark, wide and narrow', async () => {
    const cloud = new TestCloud(3, Date.now);
    cloud.disable();
    const { address } = await served(cloud);
    for (const [width, scheme] of [
      [1440, 'light'],
      [1440, 'dark'],
      [320, 'light'],
      [3840, 'dark'],
    ] as const) {
      const { page } = await openPage(browser, address, { width, scheme });
      await openAll(page);
      await page.getByLabel('Suppose that').fill('key kv1/k1');
      await see(page, 'Machines that stop: 3');
      await shoot(page, `${width}-${scheme}-open`);
      const violations = await violationsOf(page);
      assert.deepEqual(violations, [], `${width} ${scheme}`);
      await page.getByRole('button', { name: 'vm1' }).first().click();
      await page.getByRole('dialog').getByText('No spans').waitFor();
      assert.deepEqual(await violationsOf(page), [], `${width} ${scheme}, with the reason of a machine`);
    }
  });

  test('a text that tries to be part of the page is shown as text', async () => {
    const cloud = new TestCloud(1, Date.now);
    cloud.hostile('<img src=x onerror="document.title=1">\u202e');
    cloud.disable();
    const { address } = await served(cloud);
    const { page, problems } = await openPage(browser, address, { width: 1440 });
    await see(page, 'KEY_DISABLED<img src=x onerror="document.title=1">');
    assert.equal(await page.title(), 'Interlock');
    assert.deepEqual(problems, []);
  });

  test('of 10,000 machines some dozens are drawn, also when everything is open', async () => {
    const cloud = new TestCloud(10_000, Date.now);
    cloud.disable();
    const { address, look } = await served(cloud);
    // 40,000 events, of which one reading takes 20,000.
    await look();
    await look();
    const { page, problems } = await openPage(browser, address, { width: 1440 });
    await see(page, /The platform stopped 10000 of 10001 machines/);
    await openAll(page);
    const elements = (await page.evaluate('document.querySelectorAll("*").length')) as number;
    assert.ok(elements < 2_000, `${elements} elements`);
    await shoot(page, 'many');
    assert.deepEqual(problems, []);
  });
});

/** Opens every key and set. */
async function openAll(page: Page): Promise<void> {
  await page.locator('details').first().waitFor();
  for (let closed = await page.locator('details:not([open]) > summary').all(); closed.length > 0; ) {
    await closed[0]?.click();
    closed = await page.locator('details:not([open]) > summary').all();
  }
}

/** What axe finds, as texts. */
async function violationsOf(page: Page): Promise<readonly string[]> {
  await page.evaluate(axe);
  return page.evaluate(async () => {
    const { violations } = await Reflect.get(globalThis, 'axe').run();
    return violations.map((one: { id: string; nodes: { html: string; failureSummary: string }[] }) => {
      const [first] = one.nodes;
      return `${one.id}: ${one.nodes.length} × ${first?.html.slice(0, 160)}: ${first?.failureSummary.slice(0, 300)}`;
    });
  });
}
