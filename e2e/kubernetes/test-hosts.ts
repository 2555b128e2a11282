import assert from 'node:assert/strict';
import type { KubernetesObject } from './render.ts';

/** Checks that the hosts of a StatefulSet are on different nodes and zones, and keep their claims. @throws AssertionError */
export const assertSpread = ({ template, persistentVolumeClaimRetentionPolicy }: KubernetesObject['spec']): void => {
  const { topologySpreadConstraints = [] } = template.spec;
  assert.deepEqual(
    topologySpreadConstraints.map((one) => [one.topologyKey, one.maxSkew, one.whenUnsatisfiable]),
    [
      ['topology.kubernetes.io/zone', 1, 'ScheduleAnyway'],
      ['kubernetes.io/hostname', 1, 'DoNotSchedule'],
    ],
  );
  assert.deepEqual(persistentVolumeClaimRetentionPolicy, { whenDeleted: 'Retain', whenScaled: 'Retain' });
};
