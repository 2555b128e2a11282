import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitepress';
import { anchorOf } from './anchors.ts';
import { linksFromRoot, textAsItIs } from './links.ts';
import { repository, sidebar } from './pages.ts';

const vue = fileURLToPath(new URL('../node_modules/vue', import.meta.url));

/** The site of everything that is written in Markdown: the pages stay where they are, and only the front page is its own. */
export default defineConfig({
  title: 'Interlock',
  description:
    'Customer-managed keys over encrypted disks: disable the key and the machines stop, restore it and every byte is there.',
  base: process.env.DOCS_BASE ?? '/',
  // Without one a browser asks for /favicon.ico.
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  // One page after another, because the order in the search index is part of the file: the same pages make the same bytes.
  buildConcurrency: 1,
  srcDir: '../..',
  srcExclude: ['**/node_modules/**', 'dist/**', '.interlock/**', '.github/**', 'docs/site/**'],
  rewrites: { 'docs/README.md': 'index.md' },
  markdown: {
    html: false,
    anchor: { slugify: anchorOf },
    // By default a line is highlighted for 500 ms, then left without colours: on a busy machine the same page made other bytes.
    codeTransformers: [
      {
        name: 'no time limit',
        preprocess: (code, options) => {
          options.tokenizeTimeLimit = 0;
          return code;
        },
      },
    ],
    config: (markdown) => markdown.use(linksFromRoot, repository, process.env.DOCS_SOURCE).use(textAsItIs),
  },
  // The pages are outside of the folder with Vue, and esbuild need not read the settings of the project's compiler.
  vite: {
    resolve: { alias: { vue } },
    esbuild: { tsconfigRaw: '{}' },
    build: { chunkSizeWarningLimit: 2_000 },
  },
  themeConfig: {
    nav: [
      { text: 'First steps', link: '/docs/first-steps' },
      { text: 'How-to', link: '/docs/how-to/revoke-and-give-back' },
      { text: 'Guarantees', link: '/docs/guarantees' },
      { text: 'Limits', link: '/docs/limits' },
      { text: 'Changelog', link: '/CHANGELOG' },
    ],
    sidebar: sidebar(),
    outline: [2, 3],
    // A short word ("a", "it") otherwise finds every word that begins with it.
    search: {
      provider: 'local',
      options: {
        miniSearch: {
          searchOptions: {
            prefix: (word) => word.length > 2,
            fuzzy: (word) => word.length > 3 && 0.2,
          },
        },
      },
    },
  },
});
