import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { testProgram } from '../../services/cli/src/session/test-session.ts';
import { pathOf, textOf } from '../docs/sources.ts';

const pages = [
  'docs/how-to/deploy-on-kubernetes.md',
  'docs/operations.md',
  'deploy/kubernetes/README.md',
  'deploy/images/README.md',
  'deploy/helm/README.md',
];
const scripts: Readonly<Record<string, string>> = JSON.parse(textOf('package.json')).scripts;

const { program } = testProgram();

/** Whether there is a command of that noun and verb; of a command without verbs the second word is something else. */
const isKnown = (noun: string, verb: string | undefined): boolean => {
  const parent = program.commands.find((command) => command.name() === noun);
  if (parent === undefined) return false;
  return verb === undefined || parent.commands.length === 0 || parent.commands.some((one) => one.name() === verb);
};

for (const page of pages) {
  const text = textOf(page);

  test(`${page}: files, links and scripts exist`, () => {
    for (const [, link = ''] of text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g))
      if (!link.startsWith('http')) assert.ok(existsSync(pathOf(normalize(join(dirname(page), link)))), `no ${link}`);
    for (const [, path = ''] of text.matchAll(/\b(deploy\/[a-zA-Z0-9/._-]+[a-zA-Z0-9])/g))
      assert.ok(existsSync(pathOf(path)), `no ${path}`);
    for (const [, script = ''] of text.matchAll(/npm run ([a-z:]+)/g))
      assert.ok(scripts[script], `no script ${script}`);
  });

  test(`${page}: the command line knows every command`, () => {
    const commands = [
      ...text.matchAll(/(?:^|npx |`)interlock ((?:--[a-z]+ \S+ )*)([a-z][a-z-]*)(?: ([a-z][a-z-]*))?/gm),
    ];
    for (const [command, , noun = '', verb] of commands) assert.ok(isKnown(noun, verb), command);
    if (page.startsWith('docs/')) assert.ok(commands.length > 5);
  });
}
