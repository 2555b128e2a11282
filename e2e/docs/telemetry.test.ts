import assert from 'node:assert/strict';
import { test } from 'node:test';
import { filesLike, textOf } from './sources.ts';

const page = textOf('docs/telemetry.md');
const metrics = textOf('docs/metrics.md');

// What is published by itself has a page of its own.
const sources = filesLike(/^(libs|services)\/.*\.ts$/)
  .filter((file) => !/(^|\/)(test-[^/]*|[^/]*\.test)\.ts$|^libs\/(otel-jetstream|dataset|experiment)\//.test(file))
  .map(textOf);
const inCode = (pattern: RegExp): ReadonlySet<string> =>
  new Set(sources.flatMap((text) => [...text.matchAll(pattern)].map(([, name = '']) => name)));

test('docs/telemetry.md has the name of every span that the code begins', () => {
  const begun = inCode(/\b(?:inSpan|openSpan|spans|sharedSpans)\(\s*(?:[\w.#]+,\s*)?[`']([^`']+)[`']/g);
  assert.ok(begun.has('close disks'), [...begun].join());
  const known = [...page.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);
  const isKnown = (name: string): boolean =>
    known.includes(name) || known.some((one) => one.replace(/<[^>]+>/g, '') === name.replace(/\$\{[^}]+\}/g, ''));
  assert.deepEqual(
    [...begun].filter((name) => !isKnown(name)),
    [],
  );
});

test('docs/telemetry.md has every attribute of spans in the code, and no other', () => {
  const named = inCode(/'((?:interlock|rpc|db|server|client|error)\.[a-z_]+(?:\.[a-z_]+)*)'/g);
  const isMetric = (name: string): boolean => metrics.includes(`| \`${name}\` |`);
  // A file and the dimensions of metrics are no attributes of spans.
  const isDimension = (name: string): boolean => metrics.includes(`\`${name}\``) && !page.includes(`\`${name}\``);
  const ofSpans = [...named].filter((name) => !isMetric(name) && !isDimension(name) && !name.endsWith('.mjs'));
  const listed = [...page.matchAll(/`((?:interlock|rpc|db|server|client|error)\.[a-z_.]+)`/g)].map(
    ([, name = '']) => name,
  );
  assert.deepEqual([...new Set(listed)].filter((name) => !named.has(name)).sort(), [], 'on the page only');
  assert.deepEqual(ofSpans.filter((name) => !listed.includes(name)).sort(), [], 'in the code only');
});
