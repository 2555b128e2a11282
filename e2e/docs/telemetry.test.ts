import assert from 'node:assert/strict';
import { test } from 'node:test';
import { filesLike, textOf } from './sources.ts';

const page = textOf('docs/telemetry.md');
const metrics = textOf('docs/metrics.md');

// A library that is published separately has its own page.
const sources = filesLike(/^(libs|services)\/.*\.ts$/)
  .filter((file) => !/(^|\/)(test-[^/]*|[^/]*\.test)\.ts$|^libs\/(otel-jetstream|lab)\//.test(file))
  .map(textOf);
const inCode = (pattern: RegExp): ReadonlySet<string> =>
  new Set(sources.flatMap((text) => [...text.matchAll(pattern)].map(([, name = '']) => name)));

test('docs/telemetry.md has the name of every span that the code starts', () => {
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

test('docs/telemetry.md has exactly the span attributes of the code', () => {
  const named = inCode(/'((?:interlock|rpc|db|server|client|error)\.[a-z_]+(?:\.[a-z_]+)*)'/g);
  const isMetric = (name: string): boolean => metrics.includes(`| \`${name}\` |`);
  // File names and the dimensions of metrics are not attributes of spans.
  const isDimension = (name: string): boolean => metrics.includes(`\`${name}\``) && !page.includes(`\`${name}\``);
  const ofSpans = [...named].filter((name) => !isMetric(name) && !isDimension(name) && !name.endsWith('.mjs'));
  const listed = [...page.matchAll(/`((?:interlock|rpc|db|server|client|error)\.[a-z_.]+)`/g)].map(
    ([, name = '']) => name,
  );
  assert.deepEqual([...new Set(listed)].filter((name) => !named.has(name)).sort(), [], 'on the page only');
  assert.deepEqual(ofSpans.filter((name) => !listed.includes(name)).sort(), [], 'in the code only');
});
