import { existsSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import type { MarkdownRenderer } from 'vitepress';

/** What the renderer passes to rules: the page. */
interface Environment {
  /** Absolute path of the file that is rendered, and of one whose page has another place. */
  readonly path?: string;
  readonly realPath?: string;
}

/**
 * Makes links of pages independent of where the page is: a link to another page begins at the root of the site, and a link to any other file
 * leads to the repository of the sources. Without the address of that, it is text.
 * @param source `https://example.com/interlock/blob/v1.0.0`
 * @throws Error for a link to a file that does not exist: VitePress checks only links between pages
 */
export function linksFromRoot(markdown: MarkdownRenderer, repository: string, source: string | undefined): void {
  markdown.core.ruler.push('links_from_root', ({ tokens, env }) => {
    const { path: place = '', realPath: page = place }: Environment = env;
    for (const { children } of tokens) {
      let isText = false;
      for (const token of children ?? []) {
        if (token.type === 'link_close' && isText) {
          token.tag = 'span';
          isText = false;
        }
        const href = token.type === 'link_open' ? String(token.attrGet('href') ?? '') : '';
        if (href === '' || /^(#|\/|[a-z]+:)/.test(href)) continue;
        const [path = '', hash] = decodeURI(href).split('#');
        const file = relative(repository, join(dirname(page), path));
        if (!existsSync(join(repository, file)))
          throw new Error(`${relative(repository, page)}: ${file} does not exist`);
        if (file === 'docs/README.md') token.attrSet('href', '/');
        else if (file.endsWith('.md')) token.attrSet('href', `/${file}${hash === undefined ? '' : `#${hash}`}`);
        else if (source !== undefined) token.attrSet('href', `${source}/${file}`);
        else {
          token.tag = 'span';
          token.attrs = null;
          isText = true;
        }
      }
    }
  });
}

/** Shows `{{` as it is: VitePress makes a Vue component of each page, where that begins an expression. */
export function textAsItIs({ renderer: { rules } }: MarkdownRenderer): void {
  for (const name of ['text', 'code_inline'] as const) {
    const render = rules[name];
    if (render === undefined) throw new Error(`the renderer has no rule ${name}`);
    rules[name] = (...args) => render(...args).replaceAll('{{', '&#123;&#123;');
  }
}
