import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { repository } from '@interlock/local/data-folder.ts';
import { anchorOf } from '../../docs/site/.vitepress/anchors.ts';
import { filesLike, textOf } from './sources.ts';

const pages = filesLike(/\.md$/);
const sources = filesLike(/\.(ts|mjs)$/);

/** Links of a page to files of the repository: `file#anchor`, `file` or `#anchor`, outside of code. */
const linksOf = (page: string): readonly string[] =>
  [
    ...textOf(page)
      .replaceAll(/^```[\s\S]*?^```$|`[^`\n]*`/gm, '')
      .matchAll(/\]\(([^)\s]+)\)/g),
  ]
    .map(([, link = '']) => link)
    .filter((link) => !/^[a-z]+:/.test(link));

/** The anchors of a page, formed from its headings as GitHub does. */
const anchorsOf = (page: string): ReadonlySet<string> =>
  new Set(
    [...textOf(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
      anchorOf(heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')),
    ),
  );

test('every link of a page leads to a file and a heading that exist', () => {
  const broken = pages.flatMap((page) =>
    linksOf(page).flatMap((link) => {
      const [file = '', anchor] = link.split('#');
      const target = file === '' ? page : relative(repository, join(repository, dirname(page), decodeURI(file)));
      if (!existsSync(join(repository, target))) return [`${page}: ${link}`];
      const isFound = anchor === undefined || !target.endsWith('.md') || anchorsOf(target).has(anchor);
      return isFound ? [] : [`${page}: ${link} (no such heading)`];
    }),
  );
  assert.deepEqual(broken, []);
  assert.ok(pages.length > 20 && pages.some((page) => linksOf(page).length > 20), 'pages and links are found');
});

test('every source file that a page names exists', () => {
  const named = (page: string): readonly string[] =>
    [...textOf(page).matchAll(/`([\w./-]+\.(?:ts|mjs))`/g)].map(([, file = '']) => file);
  const missing = pages
    .filter((page) => page !== 'CHANGELOG.md')
    .flatMap((page) =>
      named(page)
        .filter((file) => !sources.some((source) => `/${source}`.endsWith(`/${file}`)))
        .map((file) => `${page}: ${file}`),
    );
  assert.deepEqual(missing, []);
});
