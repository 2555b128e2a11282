import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { RunState } from '@interlock/lab/progress/run-state';
import { runStateFile, writeRunState } from '@interlock/lab/progress/state-file';
import { processStart } from '@interlock/local/lock.mjs';
import type { Browser, Page } from 'playwright-core';
import { experimentAnswer, type PageExperiment } from './experiment.ts';
import { TestCloud } from './test-cloud.ts';
import { openBrowser, openPage, type TestPage, testPage, withoutBrowser } from './test-page.ts';

const shots = process.env.PAGE_SCREENSHOTS;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const data = mkdtempSync(join(tmpdir(), 'interlock-shown-'));
const evidence = join(data, 'experiments', 'friday');

/** A run in its timeline: one step is done, one is next, one expectation is broken. */
const running = (change: Partial<RunState> = {}): RunState => ({
  ...{ title: 'A key is lost on Friday', id: 'friday-1', target: 'existing', phase: 'timeline', folder: evidence },
  sinceMs: Date.now() - 9_000,
  startedMs: Date.now() - 5_000,
  runner: { pid: process.pid, startedAt: processStart(process.pid) ?? '' },
  steps: [
    { name: 'loss', action: 'disable-key', targets: ['premium'], atMs: 1_000, state: 'done', error: '' },
    { name: 'bus', action: 'kill', targets: ['nats'], atMs: 4_000, state: 'running', error: '' },
    { name: 'give back loss', action: 'give-back', targets: ['loss'], atMs: 60_000, state: 'planned', error: '' },
    { name: 'undo bus', action: 'undo', targets: ['nats'], atMs: 90_000, state: 'planned', error: '' },
  ],
  stepsLeftOut: 0,
  expectations: [
    { text: 'premium.stopped <= loss + 3s', state: 'broken', seen: 'premium-1 did not stop' },
    { text: 'control.failed == 0', state: 'holds', seen: 'control.failed = 0' },
    { text: 'bytesLost == 0', state: 'open', seen: 'no content was compared' },
  ],
  aborts: [{ text: 'control.failed > 0', isMet: false }],
  problems: [],
  ...change,
});

let browser: Browser;
let served: TestPage;
before(async () => {
  if (withoutBrowser) return;
  browser = await openBrowser();
  served = await testPage(new TestCloud(2, Date.now), data);
  await served.look();
});
after(async () => {
  await browser?.close();
  await served?.end();
  rmSync(data, { recursive: true });
});

const see = (page: Page, text: string | RegExp) => page.locator('#experiment').getByText(text).first().waitFor();
const answered = (): PageExperiment => JSON.parse(String(experimentAnswer('experiment', data)?.body));

test('a file of any content costs a note, and names why', () => {
  for (const text of ['{', '{}', `"${'x'.repeat(300_000)}"`, JSON.stringify(running()).slice(0, 200)]) {
    writeFileSync(join(data, runStateFile), text);
    const { run, problem } = answered();
    assert.equal(run, undefined);
    assert.notEqual(problem, '');
  }
});

test('a runner that does not exist, or another process with its number, is not alive', () => {
  writeRunState(data, running());
  assert.equal(answered().isAlive, true);
  writeRunState(data, running({ runner: { pid: process.pid, startedAt: '1' } }));
  assert.equal(answered().isAlive, false);
});

test('a cloud elsewhere has no experiment here, and other paths are not answered', () => {
  const { run, problem } = JSON.parse(String(experimentAnswer('experiment', undefined)?.body));
  assert.deepEqual([run, problem], [undefined, '']);
  assert.equal(experimentAnswer('experiment/x', data), undefined);
});

describe('an experiment on the live page in a browser', { skip: withoutBrowser }, () => {
  test('a run shows its steps, what is broken already, and at its end the verdict and its report', async () => {
    rmSync(join(data, runStateFile));
    const { page, problems } = await openPage(browser, served.address, { width: 1440 });
    await page.getByText('live, ').first().waitFor();
    assert.equal(await page.locator('#experiment').count(), 0);
    writeRunState(data, running());
    await see(page, /^timeline, \d/);
    const text = ((await page.locator('#experiment').textContent()) ?? '').replaceAll(/\s+/g, ' ');
    assert.match(text, /A key is lost on Friday.*existing.*friday-1.*\d+ s ago/);
    assert.match(text, /losspremium1 sdone.*busnats4 snow.*give back lossloss1 minnext.*undo busnats90 slater/);
    assert.match(text, /premium\.stopped <= loss \+ 3s broken premium-1 did not stop.*== 0 holds so far.*== 0 open/);
    assert.match(text, /control\.failed > 0 not met/);
    mkdirSync(evidence, { recursive: true });
    writeFileSync(join(evidence, 'report.html'), '');
    const verdict = { outcome: 'violated', because: 'premium.stopped <= loss + 3s does not hold.' };
    writeRunState(data, running({ phase: 'ended', endedMs: Date.now(), verdict }));
    await see(page, 'violated');
    await see(page, join(evidence, 'report.html'));
    await see(page, 'never tested');
    assert.deepEqual(problems, []);
  });

  test('a runner that was killed is named, with the command that undoes what it left', async () => {
    writeRunState(data, running({ runner: { pid: process.pid, startedAt: '1' } }));
    const { page } = await openPage(browser, served.address, { width: 1440 });
    await see(page, 'its runner has ended without a verdict');
    await see(page, `npx interlock experiment recover ${evidence}`);
  });

  test('a damaged file is a note, its texts are no markup, and the rest of the page works', async () => {
    writeFileSync(join(data, runStateFile), '{"title":');
    const { page, problems } = await openPage(browser, served.address, { width: 1440 });
    await see(page, /^The state of an experiment cannot be read: /);
    await page.getByText('2 running').first().waitFor();
    writeRunState(data, running({ title: '<img src=x onerror="document.title=1">' }));
    await see(page, '<img src=x onerror="document.title=1">');
    assert.equal(await page.title(), 'Interlock');
    assert.deepEqual(problems, []);
  });

  test('axe finds no violation, and nothing scrolls sideways, in light and dark, wide and narrow', async () => {
    const long = 'a-group-with-a-very-long-name-'.repeat(5);
    const [first, ...others] = running().expectations;
    assert.ok(first !== undefined);
    writeRunState(data, running({ expectations: [{ ...first, text: `${long}.stopped <= loss + 3s` }, ...others] }));
    for (const [width, scheme] of [
      [1440, 'light'],
      [1440, 'dark'],
      [320, 'light'],
      [320, 'dark'],
      [3840, 'light'],
    ] as const) {
      const { page } = await openPage(browser, served.address, { width, scheme });
      await see(page, /^timeline, \d/);
      if (shots !== undefined)
        await page.screenshot({ path: `${shots}/experiment-${width}-${scheme}.png`, fullPage: true });
      const [content, screen] = (await page.evaluate('[document.documentElement.scrollWidth, innerWidth]')) as number[];
      assert.ok((content ?? 0) <= (screen ?? 0), `${content} of ${screen} pixels`);
      await page.evaluate(axe);
      const found = await page.evaluate(async () => {
        const { violations } = await Reflect.get(globalThis, 'axe').run('#experiment');
        return violations.map(({ id, nodes }: { id: string; nodes: { html: string }[] }) => `${id}: ${nodes[0]?.html}`);
      });
      assert.deepEqual(found, [], `${width} ${scheme}`);
    }
  });
});
