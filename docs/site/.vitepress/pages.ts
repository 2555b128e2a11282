import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DefaultTheme } from 'vitepress';

/** The root of the repository. */
export const repository = fileURLToPath(new URL('../../..', import.meta.url));

/** Pages of `docs/` that explain; every other one is for looking something up. In the order of reading. */
const explained = [
  'first-steps',
  'architecture',
  'guarantees',
  'causes',
  'limits',
  'comparison',
  'faq',
  'chaos',
  'tracing-study',
];

/** The side bar: every page of `docs/`, and what each folder with a README says of itself. */
export function sidebar(): DefaultTheme.Sidebar {
  const pages = namesIn('docs');
  const rest = pages.filter((name) => !explained.includes(name));
  return [
    group(
      'Understand',
      explained.map((name) => `docs/${name}`),
      false,
    ),
    group(
      'Do',
      namesIn('docs/how-to').map((name) => `docs/how-to/${name}`),
      false,
    ),
    group(
      'Look up',
      rest.map((name) => `docs/${name}`),
      true,
    ),
    group(
      'Decisions',
      [
        'docs/decisions/README',
        ...namesIn('docs/decisions')
          .filter((name) => name !== 'README')
          .map((name) => `docs/decisions/${name}`),
      ],
      true,
    ),
    group('Services', readmesIn('services'), true),
    group('Libraries', readmesIn('libs'), true),
    group('Deploy and test', [...readmesIn('deploy'), ...readmesIn('e2e')], true),
    group('Project', ['CONTRIBUTING', 'CHANGELOG', 'SECURITY', 'CODE_OF_CONDUCT'], true),
  ];
}

const group = (text: string, pages: readonly string[], collapsed: boolean): DefaultTheme.SidebarItem => ({
  text,
  collapsed,
  items: pages.map((page) => ({ text: titleOf(page), link: `/${page}` })),
});

/** Names of the pages of a folder, without `.md`. */
const namesIn = (folder: string): readonly string[] =>
  readdirSync(join(repository, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => name.slice(0, -'.md'.length))
    .sort();

/** The README of each folder in a folder, where it has one. */
const readmesIn = (folder: string): readonly string[] =>
  readdirSync(join(repository, folder), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && readdirSync(join(repository, folder, entry.name)).includes('README.md'))
    .map(({ name }) => `${folder}/${name}/README`);

/** The first heading of a page. @throws Error if it has none, or there is no such page */
function titleOf(page: string): string {
  const heading = /^# (.+)$/m.exec(readFileSync(join(repository, `${page}.md`), 'utf8'))?.[1];
  if (heading === undefined) throw new Error(`${page}.md has no heading`);
  return heading.replaceAll('`', '');
}
