import type { Impact } from '@interlock/contracts/interlock/disk_encryption_set/v1/impact.ts';
import type { Verdict } from '../runs/history-log.ts';
import type { Foreseen } from './machines.ts';

/** G2: whoever asks before a loss what it would stop is told exactly that. */
export const previewJudge = (parts: {
  readonly log: Verdict;
  readonly machines: {
    foreseen(keyVersion: string): Foreseen | undefined;
    movedSince(before: Foreseen): ReadonlySet<string>;
  };
}) => {
  const { log, machines } = parts;
  return {
    /** Called with what a preview says. @param before what was foreseen when it was asked for */
    onPreview(keyVersion: string, impacts: readonly Impact[], before: Foreseen | undefined): void {
      const after = machines.foreseen(keyVersion);
      if (!before || !after) return;
      // Of what has moved between question and answer, there and back too, either may have been true when it was looked at.
      const moved = machines.movedSince(before);
      const still = (names: Iterable<string>): ReadonlySet<string> =>
        new Set([...names].filter((vm) => !moved.has(vm)));
      const wanted = still(before.stops);
      // Nothing else may have changed: whose disk moved to another key, for one.
      if (!isSameSet(wanted, still(after.stops))) return;
      // A machine is named once for each set it has disks of.
      const said = still(impacts.flatMap(({ kind, resource }) => (kind === 'VIRTUAL_MACHINE_STOPS' ? [resource] : [])));
      if (isSameSet(said, wanted)) return;
      log.violate(
        'G2',
        `a loss of ${keyVersion} stops ${[...wanted].join(', ') || 'none'}`,
        `foretold: ${[...said].join(', ') || 'none'}`,
      );
    },
  };
};

const isSameSet = (one: ReadonlySet<string>, other: ReadonlySet<string>): boolean =>
  one.size === other.size && [...one].every((name) => other.has(name));
