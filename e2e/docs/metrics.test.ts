import assert from 'node:assert/strict';
import { test } from 'node:test';
import { filesLike, textOf } from './sources.ts';

const sources = filesLike(/^(libs|services|e2e\/experiments)\/.*\.ts$/).filter(
  (file) => !/(^|\/)(test-[^/]*|[^/]*\.test)\.ts$/.test(file),
);

/** The names of instruments in the code: those passed to a meter or to a helper for meters. */
const inCode = new Set(
  sources
    .map(textOf)
    .filter((text) =>
      /create(Histogram|Counter|ObservableCounter|ObservableUpDownCounter|ObservableGauge)\(/.test(text),
    )
    .flatMap((text) => [
      ...text.matchAll(/'((?:interlock|rpc\.server|http\.server|db\.client)(?:\.[a-z_]+){2,})',\s+(?:\{|'[s{])/g),
    ])
    .map(([, name = '']) => name),
);

const onPage = new Set([...textOf('docs/metrics.md').matchAll(/^\| `([a-z._]+)` \|/gm)].map(([, name = '']) => name));

test('docs/metrics.md has exactly the metrics of the code', () => {
  assert.ok(inCode.has('interlock.lease.age') && inCode.has('interlock.feed.gap'), [...inCode].join());
  assert.deepEqual([...onPage].sort(), [...inCode].sort());
});
