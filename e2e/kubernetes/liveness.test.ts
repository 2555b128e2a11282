import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { storeOwners } from '@interlock/local/services.ts';
import { readConfig } from '@interlock/runtime';
import { computeSpec } from '../../services/compute/src/settings.ts';
import { containersOf, workloadsIn } from './references.ts';
import { type Container, hasHosts, isProduction, overlays, type Probe, renderOverlays } from './render.ts';

const rendered = await renderOverlays();

/** How long every probe of a working process may time out before the kubelet kills it, in seconds, at least. */
const STARVED_SECONDS_MIN = 60;
/** A kubelet gives a container at least this long after `preStop`, in seconds (`minimumGracePeriodInSeconds`). */
const SIGTERM_SECONDS_MIN = 2;
/** From the start of a replaced host until it serves, in seconds: five to ten (docs/how-to/deploy-on-kubernetes.md, Upgrade). */
const RESTART_SECONDS = 10;

/** A probe with the defaults of Kubernetes. */
const timesOf = ({ periodSeconds = 10, failureThreshold = 3, timeoutSeconds = 1 }: Probe = {}) => ({
  periodSeconds,
  failureThreshold,
  timeoutSeconds,
});

/**
 * Longest time from SIGSTOP of a container's process to its SIGKILL, in seconds. The process stops right after it responded to
 * one probe. `failureThreshold` probes follow, one each period; the last one times out. Then the kubelet runs `preStop`,
 * sends SIGTERM, and sends SIGKILL at the end of the grace period.
 */
const frozenSecondsMax = ({ livenessProbe, lifecycle }: Container, podGraceSeconds: number): number => {
  const { periodSeconds, failureThreshold, timeoutSeconds } = timesOf(livenessProbe);
  const graceSeconds = livenessProbe?.terminationGracePeriodSeconds ?? podGraceSeconds;
  const preStopSeconds = Math.min(lifecycle?.preStop?.sleep?.seconds ?? 0, graceSeconds);
  return (
    periodSeconds * failureThreshold + timeoutSeconds + Math.max(graceSeconds, preStopSeconds + SIGTERM_SECONDS_MIN)
  );
};

for (const overlay of overlays)
  describe(`the ${overlay} overlay`, () => {
    test('a process that works slowly keeps running: no probe gives up soon, of no container', () => {
      const problems: string[] = [];
      const want = (isSo: boolean, problem: string): void => {
        if (!isSo) problems.push(problem);
      };
      const probed = workloadsIn(rendered.get(overlay) ?? []).filter(({ kind }) => kind !== 'Job');
      for (const { metadata, spec } of probed)
        for (const { name, startupProbe, livenessProbe, readinessProbe } of spec.template.spec.containers) {
          if (livenessProbe === undefined) continue;
          const of = `${metadata.name}/${name}`;
          const live = timesOf(livenessProbe);
          want(timesOf(readinessProbe).timeoutSeconds >= 5, `${of}: a readiness probe times out before 5 s`);
          want(timesOf(startupProbe).timeoutSeconds >= 5, `${of}: a startup probe times out before 5 s`);
          want(live.timeoutSeconds >= 10, `${of}: a liveness probe times out before 10 s`);
          want(
            live.periodSeconds * live.failureThreshold >= STARVED_SECONDS_MIN,
            `${of}: is killed after ${live.periodSeconds * live.failureThreshold} s without a response`,
          );
        }
      assert.deepEqual(problems, []);
      assert.ok(probed.length >= 7);
    });

    test('hosts are found while they are not ready; of the other services, only ready replicas are', () => {
      for (const name of [...storeOwners, ...(hasHosts(overlay) ? ['disk-host', 'disk-0', 'vm-host'] : [])]) {
        const service = (rendered.get(overlay) ?? []).find(
          ({ kind, metadata }) => kind === 'Service' && metadata.name === name,
        );
        const isHost =
          /^(disk-host|disk-0|vm-host)$/.test(name) || (/^(disk|compute)$/.test(name) && !hasHosts(overlay));
        assert.equal(service?.spec.publishNotReadyAddresses ?? false, isHost, name);
      }
    });
  });

/** What the components `disk-hosts` and `vm-hosts` add. */
const hostWorkloads = ['disk-control', 'disk-host', 'compute-control', 'vm-host'];

for (const overlay of overlays.filter(isProduction))
  test(`${overlay}: a frozen disk host is killed and replaced before operations of guests fail`, () => {
    const objects = rendered.get(overlay) ?? [];
    const settings = objects.find(
      ({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === 'interlock-settings',
    );
    const { guestIoTimeoutMs } = readConfig(settings?.data ?? {}, { guestIoTimeoutMs: computeSpec.guestIoTimeoutMs });
    const names: readonly string[] = [...storeOwners, ...(hasHosts(overlay) ? hostWorkloads : [])];
    const own = workloadsIn(objects).filter(({ metadata }) => names.includes(metadata.name));
    assert.equal(own.length, names.length);
    for (const workload of own)
      for (const container of containersOf(workload)) {
        const seconds =
          frozenSecondsMax(container, workload.spec.template.spec.terminationGracePeriodSeconds ?? 30) +
          RESTART_SECONDS;
        assert.ok(
          seconds * 1_000 < guestIoTimeoutMs,
          `${workload.metadata.name}: ${seconds} s until a new process serves, guests wait ${guestIoTimeoutMs} ms`,
        );
      }
  });
