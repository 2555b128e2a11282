import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { repository } from '@interlock/local/data-folder.ts';
import type { Browser } from 'playwright-core';
import { openBrowser, withoutBrowser } from '../../services/cli/src/page/test-page.ts';
import { type TestCloud, testCloud, withTelemetry } from '../cloud/test-cloud.ts';
import { makeWorld, startAgain, untilPower, type World } from '../cloud/world.ts';

describe('the live page of a cloud of processes', { skip: withoutBrowser }, () => {
  let cloud: TestCloud;
  let world: World;
  let page: ChildProcess;
  let browser: Browser;
  let address: string;
  before(async () => {
    cloud = await testCloud(withTelemetry);
    world = await makeWorld(cloud.clients, [['PREMIUM_SSD'], ['STANDARD_SSD'], ['platform']]);
    const main = join(repository, 'services/cli/src/main.ts');
    page = spawn(process.execPath, [main, 'page', '--data', cloud.folder], { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = createInterface({ input: page.stdout ?? assert.fail() });
    address = await new Promise((resolve) => lines.once('line', resolve));
    browser = await openBrowser();
  });
  after(async () => {
    await browser?.close();
    page?.kill();
    await cloud?.stop();
  });

  test('a revocation is watched from the loss to the return', async () => {
    const { clients } = cloud;
    const window = await browser.newPage();
    const errors: string[] = [];
    window.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    await window.goto(address);
    await window.getByText(/The platform stopped no machine/).waitFor();
    await clients.keyVault.disableKeyVersion({ name: world.keyVersion });
    const [first = '', second = ''] = world.machines;
    await window.getByText(/The platform stopped 2 of 3 machines/).waitFor();
    await window.getByText('t0: key disabled').first().waitFor();
    for (const name of [first, second]) await untilPower(clients, name, 'STOPPED');
    await window
      .getByRole('button', { name: first.slice(first.lastIndexOf('/') + 1) })
      .first()
      .click();
    const why = window.getByRole('dialog');
    await why.getByText(/KeyUpdate: disable/).waitFor();
    await window.keyboard.press('Escape');
    await clients.keyVault.enableKeyVersion({ name: world.keyVersion });
    await window.getByText('access given back').first().waitFor();
    await startAgain(clients, world.set, [first, second]);
    await window.getByText(/all of them run again/).waitFor();
    assert.deepEqual(errors, []);
  });
});
