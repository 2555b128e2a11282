import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Browser } from 'playwright-core';
import { openBrowser, openPage, withoutBrowser } from '../../services/cli/src/page/test-page.ts';
import { buildSite } from './site.ts';
import { filesLike } from './sources.ts';

// The tools of the site are a download of their own. In `npm test`, links.test.ts checks every link of a page.

const source = 'https://example.com/interlock/blob/abc';

/** Where the site has a page of the repository. */
const pageOf = (file: string): string => (file === 'docs/README.md' ? 'index.html' : file.replace(/\.md$/, '.html'));

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
};

describe('the site of the documentation', () => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-site-'));
  before(async () => {
    await buildSite(folder, { base: '/', source });
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  test('it has every page, and links to files that are no pages lead to the repository', () => {
    const pages = filesLike(/\.md$/).filter((file) => !file.startsWith('.github/') && !file.startsWith('docs/site/'));
    assert.ok(pages.length > 80);
    assert.deepEqual(
      pages.filter((file) => !existsSync(join(folder, pageOf(file)))),
      [],
    );
    const rules = readFileSync(join(folder, 'docs/rules.html'), 'utf8');
    assert.ok(rules.includes(`href="${source}/services/key-vault/src/key/key.int.test.ts"`));
  });

  describe('in a browser', { skip: withoutBrowser }, () => {
    let browser: Browser;
    let address: string;
    const server = createServer(({ url = '/' }, response) => {
      const file = join(folder, url.endsWith('/') ? `${url}index.html` : url.replace(/\?.*$/, ''));
      const isThere = existsSync(file);
      response.writeHead(isThere ? 200 : 404, { 'content-type': types[extname(file)] ?? 'application/octet-stream' });
      response.end(isThere ? readFileSync(file) : '');
    });
    before(async () => {
      browser = await openBrowser();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    });
    after(async () => {
      await browser?.close();
      server.closeAllConnections();
      server.close();
    });

    test('a search finds how to revoke a key, and nothing is loaded from elsewhere', async () => {
      const { page, problems } = await openPage(browser, address, { width: 1440 });
      await page.getByRole('button', { name: 'Search' }).click();
      await page.locator('#localsearch-input').fill('revoke a key and give it back');
      await page.getByRole('option').first().click();
      await page.getByRole('heading', { level: 1, name: 'How to revoke a key and give it back' }).waitFor();
      assert.deepEqual(problems, []);
    });

    test('at 320 pixels nothing scrolls sideways', async () => {
      for (const path of ['', 'docs/first-steps.html', 'docs/rules.html']) {
        const { page, problems } = await openPage(browser, `${address}${path}`, { width: 320 });
        await page.getByRole('heading', { level: 1 }).waitFor();
        assert.equal(await page.evaluate('document.documentElement.scrollWidth'), 320, path);
        assert.deepEqual(problems, []);
      }
    });
  });
});
