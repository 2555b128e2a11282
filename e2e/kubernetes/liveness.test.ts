import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { storeOwners } from '@interlock/local/services.ts';
import { readConfig } from '@interlock/runtime';
import { diskSpec } from '../../services/disk/src/settings.ts';
import { containersOf, workloadsIn } from './references.ts';
import { type Container, type KubernetesObject, type Overlay, overlays, render } from './render.ts';

const rendered = new Map<Overlay, readonly KubernetesObject[]>();
before(async () => {
  for (const overlay of overlays) rendered.set(overlay, await render(overlay));
});

/** A kubelet gives a container at least this long after `preStop`, in seconds (`minimumGracePeriodInSeconds`). */
const SIGTERM_SECONDS_MIN = 2;

/**
 * Longest time from SIGSTOP of a container's process to its SIGKILL, in seconds. The process stops right after it responded to
 * one probe. `failureThreshold` probes follow, one each period; the last one times out. Then the kubelet runs `preStop`,
 * sends SIGTERM, and sends SIGKILL at the end of the grace period.
 */
const frozenSecondsMax = ({ livenessProbe, lifecycle }: Container, podGraceSeconds: number): number => {
  const { periodSeconds = 10, failureThreshold = 3, timeoutSeconds = 1 } = livenessProbe ?? {};
  const graceSeconds = livenessProbe?.terminationGracePeriodSeconds ?? podGraceSeconds;
  const preStopSeconds = Math.min(lifecycle?.preStop?.sleep?.seconds ?? 0, graceSeconds);
  return (
    periodSeconds * failureThreshold + timeoutSeconds + Math.max(graceSeconds, preStopSeconds + SIGTERM_SECONDS_MIN)
  );
};

for (const overlay of overlays)
  describe(`the ${overlay} overlay`, () => {
    test('G1: a frozen service is killed within half of the lease time', () => {
      const objects = rendered.get(overlay) ?? [];
      const settings = objects.find(
        ({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === 'interlock-settings',
      );
      const { leaseTtlMs } = readConfig(settings?.data ?? {}, { leaseTtlMs: diskSpec.leaseTtlMs });
      const own = workloadsIn(objects).filter(({ metadata }) => storeOwners.some((name) => name === metadata.name));
      assert.equal(own.length, storeOwners.length);
      for (const workload of own)
        for (const container of containersOf(workload)) {
          const seconds = frozenSecondsMax(container, workload.spec.template.spec.terminationGracePeriodSeconds ?? 30);
          assert.ok(
            seconds * 1_000 < leaseTtlMs / 2,
            `${workload.metadata.name}: ${seconds} s until SIGKILL, lease ${leaseTtlMs} ms`,
          );
        }
    });
  });
