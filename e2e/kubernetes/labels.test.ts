import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { textOf } from '../docs/sources.ts';
import { workloadsIn } from './references.ts';
import { type Labels, objectsIn, overlays, renderOverlays } from './render.ts';

const rendered = await renderOverlays();

const { version }: { readonly version: string } = JSON.parse(textOf('package.json'));
/** The labels of `app.kubernetes.io/` that every object has. */
const common = ['instance', 'version', 'part-of', 'managed-by'] as const;
/** The labels of `app.kubernetes.io/` that workloads, pods and Services have. */
const complete = [...common, 'name', 'component'] as const;
const missing = (labels: Labels | undefined, wanted: readonly string[]): readonly string[] =>
  wanted.filter((label) => labels?.[`app.kubernetes.io/${label}`] === undefined);

/** The protocol of each port: IANA's names, and those that Kubernetes defines. NATS has no registered name. */
const protocols: Readonly<Record<string, string | undefined>> = {
  grpc: 'https',
  https: 'https',
  postgres: 'postgresql',
  files: 'https',
  'otlp-http': 'http',
  'otlp-grpc': 'kubernetes.io/h2c',
  prometheus: 'http',
  ui: 'http',
};

for (const overlay of overlays)
  describe(`the ${overlay} overlay`, () => {
    const objects = () => rendered.get(overlay) ?? [];

    test('every object has the four common labels; workloads, pods and Services have all six', () => {
      const problems: string[] = [];
      const want = (of: string, labels: Labels | undefined, wanted: readonly string[]): void => {
        for (const label of missing(labels, wanted)) problems.push(`${of} has no app.kubernetes.io/${label}`);
        if (labels?.['app.kubernetes.io/version'] !== version) problems.push(`${of} is not version ${version}`);
      };
      for (const { kind, metadata } of objects()) {
        const isCalled = ['Deployment', 'StatefulSet', 'Job', 'Service'].includes(kind);
        want(`${kind} ${metadata.name}`, metadata.labels, isCalled ? complete : common);
      }
      for (const { metadata, spec } of workloadsIn(objects()))
        want(`a pod of ${metadata.name}`, spec.template.metadata.labels, complete);
      assert.deepEqual(problems, []);
    });

    test('volume claim templates and selectors, which cannot be updated, have only labels that never change', () => {
      for (const { metadata, spec } of workloadsIn(objects())) {
        for (const claim of spec.volumeClaimTemplates ?? [])
          assert.deepEqual(claim.metadata.labels, { 'app.kubernetes.io/part-of': 'interlock' }, metadata.name);
        assert.deepEqual(
          Object.keys(spec.selector?.matchLabels ?? {}),
          spec.selector ? ['app.kubernetes.io/name'] : [],
        );
      }
    });

    test('every port of a Service names its protocol; gRPC over TLS is https, not h2c', () => {
      const ports = objects()
        .filter(({ kind }) => kind === 'Service')
        .flatMap(({ metadata, spec }) => (spec.ports ?? []).map((port) => ({ ...port, of: metadata.name })));
      assert.ok(ports.length > 5);
      for (const { of, name, appProtocol } of ports) if (of !== 'nats') assert.equal(appProtocol, protocols[name], of);
    });
  });

test('the Jobs of a rehearsal and their pods have all six labels', () => {
  const jobs = objectsIn(textOf('deploy/kubernetes/jobs/rehearsal.yaml'));
  assert.equal(jobs.length, 3);
  for (const labels of jobs.flatMap((job) => [job.metadata.labels, job.spec.template.metadata.labels])) {
    assert.deepEqual(missing(labels, complete), []);
    assert.equal(labels?.['app.kubernetes.io/version'], version);
  }
});
