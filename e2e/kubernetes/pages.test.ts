import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { pathOf, textOf } from '../docs/sources.ts';

const pages = [
  'docs/how-to/deploy-on-kubernetes.md',
  'docs/operations.md',
  'deploy/kubernetes/README.md',
  'deploy/images/README.md',
  'deploy/helm/README.md',
];

for (const page of pages) {
  const text = textOf(page);

  test(`${page}: files and links exist`, () => {
    for (const [, link = ''] of text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g))
      if (!link.startsWith('http')) assert.ok(existsSync(pathOf(normalize(join(dirname(page), link)))), `no ${link}`);
    for (const [, path = ''] of text.matchAll(/\b(deploy\/[a-zA-Z0-9/._-]+[a-zA-Z0-9])/g))
      assert.ok(existsSync(pathOf(path)), `no ${path}`);
  });
}
