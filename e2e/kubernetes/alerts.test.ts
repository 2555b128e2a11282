import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { runProgram } from '../../deploy/images/builder.ts';
import { textOf } from '../docs/sources.ts';
import { objectsIn } from './render.ts';

/** Series as in Prometheus, with one value a minute in promtool's notation: `0x8 1x40` is nine times 0, then 41 times 1. */
type Series = Readonly<Record<string, string>>;

/** Series on which an alert fires at the evaluated minute, and series on which it does not. */
interface Case {
  readonly fires: Series;
  readonly quiet: Series;
}

const long = (value: number): string => `${value}x80`;
const lease = (ageSeconds: number, ttlSeconds: number): Series => ({
  'interlock_lease_age_seconds{interlock_des="des1", interlock_key_version="v1", service_name="disk"}':
    long(ageSeconds),
  'interlock_lease_ttl_seconds{service_name="disk"}': long(ttlSeconds),
});
const services = ['identity', 'key-vault', 'disk-encryption-set', 'compute'];
const measured = (service: string): Series => ({
  [`interlock_relay_outage_seconds{service_name="${service}"}`]: long(0),
});
const measuring: Series = Object.assign(
  {
    'interlock_lease_count{service_name="disk", interlock_lease_state="HELD"}': long(0),
    'interlock_tls_certificate_remaining_seconds{service_name="gateway", interlock_tls_certificate="own"}': long(9e6),
  },
  ...services.map(measured),
);
const without = (series: Series, gone: string): Series =>
  Object.fromEntries(Object.entries(series).filter(([name]) => !name.includes(gone)));
/** In whichever namespace: no alert names one. */
const namespace = 'cloud-of-a-team';
const installed: Series = {
  [`kube_deployment_spec_replicas{namespace="${namespace}", deployment="disk-encryption-set"}`]: long(3),
};
const hosts = (ready: number): Series => ({
  [`kube_statefulset_replicas{namespace="${namespace}", statefulset="disk-host"}`]: long(3),
  [`kube_statefulset_status_replicas_ready{namespace="${namespace}", statefulset="disk-host"}`]: long(ready),
  ...installed,
  // Another application, with a host of the same name.
  'kube_statefulset_replicas{namespace="other", statefulset="disk"}': long(1),
  'kube_statefulset_status_replicas_ready{namespace="other", statefulset="disk"}': long(0),
});
const volume = (freeShare: number, of = namespace): Series => ({
  ...installed,
  [`kubelet_volume_stats_available_bytes{namespace="${of}", persistentvolumeclaim="data-disk-0"}`]: long(
    freeShare * 1_000,
  ),
  [`kubelet_volume_stats_capacity_bytes{namespace="${of}", persistentvolumeclaim="data-disk-0"}`]: long(1_000),
});
const gauge = (name: string, labels: string, fires: number, quiet: number): Case => ({
  fires: { [`${name}{${labels}}`]: long(fires) },
  quiet: { [`${name}{${labels}}`]: long(quiet) },
});
/** Responses of the gateway: 100 a minute, this many of them failures. */
const replied = (failures: number): Series => {
  const count = (status: number, each: number): Series => ({
    [`http_server_request_duration_seconds_count{service_name="gateway", http_response_status_code="${status}"}`]: `0+${each}x80`,
  });
  return { ...count(200, 100 - failures), ...count(503, failures) };
};
/** One finding at minute 18, of a process whose counter was 0 before. */
const header = (fires: string, quiet: string): Case => {
  const found = (reason: string): Series => ({
    [`interlock_disk_header_finding_total{service_name="disk", interlock_rejection_reason="${reason}"}`]: '0x17 1x60',
  });
  return { fires: found(fires), quiet: found(quiet) };
};
const copies = (there: number, wanted: number, service = 'disk'): Series => ({
  [`interlock_stream_copies{service_name="${service}"}`]: long(there),
  [`interlock_stream_copies_wanted{service_name="${service}"}`]: long(wanted),
});
/** Of a Postgres server of the cluster. */
const ofPod = (pod: string, metric: string, value: number): Series => ({
  ...installed,
  [`${metric}{namespace="${namespace}", pod="${pod}"}`]: long(value),
});
const archiving = (failed: number, archived: number, pod = 'interlock-postgres-1'): Series => ({
  ...ofPod(pod, 'cnpg_pg_stat_archiver_last_failed_time', failed),
  ...ofPod(pod, 'cnpg_pg_stat_archiver_last_archived_time', archived),
});
const backedUp = (at: number, pod = 'interlock-postgres-1'): Series =>
  ofPod(pod, 'barman_cloud_cloudnative_pg_io_last_available_backup_timestamp', at);
/** A disk host: whether it serves, how much of its storage is free, and how many disks it has. */
const diskHost = (serving: number, freeShare: number, volumes: number): Series => {
  const of = (metric: string): string =>
    `interlock_disk_host_${metric}{service_name="disk", interlock_disk_host="disk-1"}`;
  return {
    [of('serving')]: long(serving),
    [of('capacity_bytes')]: long(1_000),
    [of('free_bytes')]: long(freeShare * 1_000),
    [of('volumes')]: long(volumes),
  };
};
const heard = 'service_name="disk", messaging_destination_name="disk-encryption-set"';
const certificate = 'service_name="disk", interlock_tls_certificate="own"';

const cases: Readonly<Record<string, Case>> = {
  // Relative to the setting: 50 s are much of 60 and little of 300.
  LeaseNotRenewed: { fires: lease(50, 60), quiet: lease(50, 300) },
  LeaseOlderThanItsBound: { fires: lease(21, 20), quiet: lease(59, 60) },
  VaultDoesNotAnswer: gauge('interlock_lease_count', 'interlock_lease_state="PAUSED"', 3, 0),
  VaultOnHold: gauge('interlock_key_vault_hold', 'service_name="key-vault"', 1, 0),
  // One machine, at minute 18, of a process whose counter was 0 before.
  RevocationBoundMissed: {
    fires: { 'interlock_revocation_late_total{service_name="compute"}': '0x17 1x60' },
    quiet: { 'interlock_revocation_late_total{service_name="compute"}': long(7) },
  },
  ContentMismatch: {
    fires: { 'interlock_vm_content_mismatch_total{service_name="compute"}': '0x17 1x60' },
    quiet: { 'interlock_vm_content_mismatch_total{service_name="compute"}': long(7) },
  },
  HeaderForged: header('HEADER_FORGED', 'HEADER_BEHIND'),
  HeaderRestored: header('HEADER_BEHIND', 'HEADER_FORGED'),
  ConsumerStandsStill: gauge('interlock_feed_lag_seconds', heard, 31, 29),
  FeedGapGrows: gauge('interlock_feed_gap', heard, 10_001, 10_000),
  FactParked: gauge('interlock_feed_parked', heard, 1, 0),
  FactRefused: {
    fires: { [`interlock_feed_refused_total{${heard}}`]: '0x17 1x60' },
    quiet: { [`interlock_feed_refused_total{${heard}}`]: long(7) },
  },
  StreamCopiesMissing: { fires: copies(1, 3), quiet: { ...copies(3, 3), ...copies(1, 1, 'compute') } },
  RelaySilent: gauge('interlock_relay_outage_seconds', 'service_name="disk"', 11, 9),
  RotationWaits: gauge('interlock_rotation_left', 'interlock_des="des1", interlock_rotation_state="waiting"', 2, 0),
  MetricsMissing: { fires: { up: long(1) }, quiet: { 'interlock_feed_gap{service_name="disk"}': long(0) } },
  HostGone: { fires: hosts(2), quiet: hosts(3) },
  DiskHostUnreachable: { fires: diskHost(0, 0.5, 1), quiet: diskHost(1, 0.5, 1) },
  VmHostUnreachable: gauge('interlock_vm_host_serving', 'service_name="compute", interlock_vm_host="vm-host-1"', 0, 1),
  DiskHostFull: { fires: diskHost(1, 0.09, 1), quiet: diskHost(1, 0.11, 19_999) },
  ServiceSilent: { fires: without(measuring, 'lease_count'), quiet: measuring },
  GatewayFails: { fires: replied(3), quiet: replied(2) },
  VolumeFills: { fires: volume(0.14), quiet: volume(0.16) },
  VolumeAlmostFull: { fires: volume(0.04), quiet: { ...volume(0.06), ...volume(0.01, 'another') } },
  CertificateEndsSoon: gauge('interlock_tls_certificate_remaining_seconds', certificate, 19 * 86_400, 21 * 86_400),
  LogNotArchived: { fires: archiving(200, 100), quiet: archiving(100, 200) },
  // The clock of these tests starts in 1970.
  BackupTooOld: { fires: backedUp(-3 * 86_400), quiet: backedUp(0) },
};
/** Alerts that wait for an hour are evaluated after 70 minutes, the others after 20. */
const slow = new Set(['RotationWaits', 'CertificateEndsSoon', 'BackupTooOld']);

const [rules] = objectsIn(textOf('deploy/kubernetes/overlays/production/alerts.yaml'));
const alerts = (rules?.spec.groups ?? []).flatMap((group) => group.rules);

test('every alert has series on which it fires and series on which it does not', () => {
  assert.deepEqual(Object.keys(cases).sort(), alerts.map(({ alert }) => alert).sort());
});

test('no alert names a namespace: an installation may be in any', () => {
  for (const { alert, expr } of alerts) assert.doesNotMatch(expr, /namespace *=/, alert);
});

test('no alert repeats the seconds of a setting, and each has the URL of its page', () => {
  for (const { alert, expr, annotations } of alerts) {
    if (/lease|revocation/.test(expr)) assert.doesNotMatch(expr, /\b(45|60)\b/, alert);
    assert.ok(URL.canParse(annotations.runbook_url ?? ''), alert);
  }
});

const hasPromtool = (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, 'promtool')));

test('every alert fires on its own series and not on the others', {
  skip: hasPromtool ? false : 'expressions are not evaluated: that needs promtool (apt-get install promtool)',
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-alerts-'));
  try {
    writeFileSync(join(folder, 'rules.yaml'), JSON.stringify(rules?.spec));
    const look = (alert: string, series: Series, count: number) => ({
      name: `${alert} ${count === 0 ? 'is quiet' : 'fires'}`,
      interval: '1m',
      input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
      promql_expr_test: [
        {
          expr: `count(ALERTS{alertname="${alert}", alertstate="firing"})`,
          eval_time: slow.has(alert) ? '70m' : '20m',
          exp_samples: count === 0 ? [] : [{ labels: '{}', value: count }],
        },
      ],
    });
    const tests = Object.entries(cases).flatMap(([alert, { fires, quiet }]) => [
      look(alert, fires, 1),
      look(alert, quiet, 0),
    ]);
    tests.push(look('DiskHostFull', diskHost(1, 0.5, 20_000), 1));
    // A restored cluster next to the earlier one, which works.
    const restored = 'interlock-postgres-2-1';
    tests.push(
      look('LogNotArchived', { ...archiving(100, 400), ...archiving(300, 200, restored) }, 1),
      look('BackupTooOld', { ...backedUp(0), ...backedUp(-3 * 86_400, restored) }, 1),
    );
    for (const service of services)
      tests.push(look('ServiceSilent', without(measuring, `service_name="${service}"`), 1));
    writeFileSync(
      join(folder, 'tests.yaml'),
      JSON.stringify({ rule_files: ['rules.yaml'], evaluation_interval: '1m', tests }),
    );
    await runProgram('promtool', ['check', 'rules', join(folder, 'rules.yaml')], process.env);
    await runProgram('promtool', ['test', 'rules', join(folder, 'tests.yaml')], process.env);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
