import { shortName } from '@interlock/lab/short-name';
import type { QuietSeen } from '../evidence/evidence.ts';
import { all, each, type Finding, finding, listed, millis, rule, shortVersion } from './rule.ts';

/** Rules about changing the key while machines work (CMK-15, 16, 80, 82, 83). */
export const rotationRules = [
  rule(
    'CMK-15',
    'Rotation wraps data keys again; data is not rewritten and the data key stays',
    ['rotation', 'files'],
    ({ rotation, files }) => [
      each(
        rotation.rewraps,
        ({ isWrapChanged, isDataUntouched }) => isWrapChanged && isDataUntouched,
        ({ disk, isWrapChanged, isDataUntouched }) =>
          `${shortName(disk)}: wrap ${isWrapChanged ? 'new' : 'unchanged'}, ciphertext ${isDataUntouched ? 'the same' : 'changed'}`,
      ),
      each(
        files.disks,
        ({ isSameDek }) => isSameDek,
        ({ disk }) => shortName(disk),
        'the data key of today decrypts what lay on disk before the rotation: ',
      ),
    ],
  ),

  rule('CMK-16', 'Rotation does not affect running machines', ['rotation'], ({ rotation }) => [
    ...quiet(rotation.machines),
    finding(
      rotation.endedAt >= rotation.startedAt,
      `the rotation took ${millis(rotation.endedAt - rotation.startedAt)}; longest time without a completed read or write ${millis(Math.max(...rotation.machines.machines.map(({ io }) => io.longestGapMs)))}`,
    ),
  ]),

  rule(
    'CMK-80',
    'Naming another version for the set moves all its disks, without a request per disk',
    ['rotation', 'disks', 'sets'],
    ({ rotation, disks, sets }) => {
      const members = disks.filter(({ set }) => set === sets[0]?.name);
      return [
        finding(rotation.from !== rotation.to, `from ${shortVersion(rotation.from)} to ${shortVersion(rotation.to)}`),
        all(
          members,
          ({ name }) =>
            rotation.resources.some(
              (resource) =>
                resource.name === name &&
                resource.keyVersion === rotation.to &&
                resource.generation === rotation.generation,
            ),
          (seen) =>
            `${seen.length} disks listed under the new version: ${listed(
              seen.map(({ name }) => shortName(name)),
              4,
            )}`,
        ),
        all(
          rotation.rewraps,
          ({ keyVersionBefore, keyVersionAfter }) =>
            keyVersionBefore === rotation.from && keyVersionAfter === rotation.to,
          (seen) =>
            `${seen.length} headers on disk name ${listed([...new Set(seen.map((one) => shortVersion(one.keyVersionAfter)))])}`,
        ),
      ];
    },
  ),

  rule('CMK-82', 'Machines are neither restarted nor paused by rotation', ['rotation'], ({ rotation }) => [
    each(
      rotation.machines.machines,
      ({ power, startTimeBefore, startTimeAfter }) => power === 'RUNNING' && startTimeBefore === startTimeAfter,
      ({ name, power }) => `${name} ${power}`,
      'running since before: ',
    ),
    all(
      rotation.machines.machines,
      ({ io }) => io.reads > 0 && io.writes > 0,
      (seen) => `${seen.reduce((sum, { io }) => sum + io.reads + io.writes, 0)} reads and writes during and after`,
    ),
  ]),

  rule(
    'CMK-83',
    'Both versions stay enabled until everything is rewrapped; then the old one may go',
    ['rotation', 'oldVersionDisabled', 'audit'],
    ({ rotation, oldVersionDisabled, audit }) => {
      const rewrapped = new Set(
        audit
          .filter(({ operation, result }) => operation === 'KeyRewrap' && result === 'SUCCESS')
          .map((row) => row.resource),
      );
      return [
        finding(
          rotation.wereBothEnabled,
          `both versions ${rotation.wereBothEnabled ? 'were' : 'were not'} enabled throughout`,
        ),
        finding(
          rotation.previousKeysMeanwhile.includes(rotation.from) && rotation.previousKeysAfter.length === 0,
          `the set listed ${listed(rotation.previousKeysMeanwhile.map(shortVersion))} while it moved, and ${listed(rotation.previousKeysAfter.map(shortVersion))} afterwards`,
        ),
        all(
          rotation.rewraps,
          ({ disk }) => rewrapped.has(disk),
          (seen) => `a rewrap is on record for each of ${seen.length} disks`,
        ),
        ...quiet(oldVersionDisabled).map(({ holds, seen }) => finding(holds, `with the old version disabled: ${seen}`)),
      ];
    },
  ),
];

/** Nothing may have stopped, restarted or failed. */
function quiet({ machines }: QuietSeen): readonly Finding[] {
  return [
    each(
      machines,
      ({ power, startTimeBefore, startTimeAfter, io }) =>
        power === 'RUNNING' && startTimeBefore === startTimeAfter && io.failed === 0 && io.reads + io.writes > 0,
      ({ name, power, io }) =>
        `${name} ${power}, ${io.reads + io.writes} good, ${io.failed} failed${io.failure && ` (${io.failure})`}`,
    ),
  ];
}
