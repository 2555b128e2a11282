import assert from 'node:assert/strict';
import { test } from 'node:test';
import { textOf } from '../docs/sources.ts';
import { isProduction, objectsIn, overlays, render } from './render.ts';

/** Names as in Prometheus, from the table of docs/metrics.md: dots become `_`, and the unit is appended. */
const metricNames = new Set(
  [...textOf('docs/metrics.md').matchAll(/^\| `([a-z._]+)` \| (gauge|histogram|counter)(, (?:s|By))? \|/gm)].flatMap(
    ([, name = '', kind, unit]) => {
      const suffix = unit === undefined ? '' : unit === ', s' ? '_seconds' : '_bytes';
      const base = `${name.replaceAll('.', '_')}${suffix}`;
      if (kind === 'histogram') return [`${base}_bucket`, `${base}_count`, `${base}_sum`];
      return [kind === 'counter' ? `${base}_total` : base];
    },
  ),
);
/** The attributes of docs/metrics.md and those of the resource of every value, as labels. */
const labelNames = new Set([
  ...[...textOf('docs/metrics.md').matchAll(/`((?:interlock|messaging|rpc|http|service)\.[a-z._]+)`/g)].map(
    ([, name = '']) => name.replaceAll('.', '_'),
  ),
  'le',
  'interlock_tls_certificate',
  // From CloudNativePG and its plugin, from kube-state-metrics and from kubelets.
  'namespace',
  'postgres_cluster',
  'statefulset',
  'deployment',
]);

const alerts = objectsIn(textOf('deploy/kubernetes/overlays/production/alerts.yaml')).flatMap(({ spec }) =>
  (spec.groups ?? []).flatMap(({ rules }) => rules),
);
const scaling = objectsIn(textOf('deploy/kubernetes/overlays/production/autoscaling.yaml')).flatMap(({ spec }) =>
  (spec.triggers ?? []).flatMap(({ metadata }) => metadata.query ?? []),
);
const dashboard: { panels: { title: string; targets?: { expr: string }[] }[] } = JSON.parse(
  textOf('deploy/kubernetes/dashboards/interlock.json'),
);
const litmus = [...textOf('libs/lab/src/outputs/packs/litmus.ts').matchAll(/query: '(.*)'/g)].map(
  ([, query = '']) => query,
);
const queries = [
  ...alerts.map(({ expr }) => expr),
  ...scaling,
  ...litmus,
  ...dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
];

test('every query uses metrics and labels that exist', () => {
  assert.ok(
    metricNames.has('interlock_lease_age_seconds') && metricNames.has('interlock_revocation_duration_seconds_bucket'),
  );
  assert.ok(queries.length > 20);
  const unknown = queries.flatMap((query) => {
    const names = [...query.matchAll(/\b((?:interlock|rpc_server|http_server)_[a-z_]+)\b(?=[{[)\s]|$)/g)].map(
      ([, name = '']) => name,
    );
    const labels = [
      ...[...query.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(/,\s*/)),
      ...[...query.matchAll(/([a-z_]+)=~?"/g)].map(([, name = '']) => name),
    ];
    return [
      ...names.filter((name) => !metricNames.has(name) && !labelNames.has(name)),
      ...labels.filter((name) => !labelNames.has(name)),
    ];
  });
  assert.deepEqual(unknown, []);
});

test('production has the dashboard as a ConfigMap that Grafana finds', async () => {
  for (const overlay of overlays.filter(isProduction)) {
    const objects = await render(overlay);
    const found = objects.find(
      ({ kind, metadata }) => kind === 'ConfigMap' && metadata.labels?.grafana_dashboard === '1',
    );
    assert.deepEqual(JSON.parse(found?.data?.['interlock.json'] ?? '{}'), dashboard);
  }
});

test('the queries include the metrics that operators need', () => {
  const all = queries.join('\n');
  for (const name of [
    'interlock_revocation_duration',
    'interlock_lease_age',
    'interlock_feed_gap',
    'interlock_feed_lag',
    'interlock_rotation_left',
  ])
    assert.ok(all.includes(name), name);
});

test('every alert has a runbook in docs/operations.md, and every runbook an alert', () => {
  const pages = [...textOf('docs/operations.md').matchAll(/^## (\w+)$/gm)].map(([, name = '']) => name);
  assert.deepEqual(alerts.map(({ alert }) => alert).sort(), [...pages].sort());
  for (const { alert, annotations } of alerts)
    assert.equal(
      annotations.runbook_url,
      `https://runbooks.example.com/interlock/operations.md#${alert.toLowerCase()}`,
    );
});
