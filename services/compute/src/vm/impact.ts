import { evolve } from './decider.ts';
import type { OpenedDisk } from './events.ts';
import { stopForKeyLoss } from './key-loss.ts';
import type { PlannedDisk, VmDisk, Work } from './machine.ts';
import { type Creating, currentWork, type Machine, type Vm } from './state.ts';

/** A loss that has not happened: of some versions, to a set. */
export interface SupposedLoss {
  readonly set: string;
  readonly keyVersions: ReadonlySet<string>;
}

/** What a loss would do to a machine. */
export interface Impact {
  readonly outcome: 'STOPS' | 'FAILS_AT_NEXT_START';
  /** Names of its disks under the loss, ultra disks included. */
  readonly disks: readonly string[];
}

/**
 * What would become of a machine; `undefined`: nothing. Decided by the stop itself, on the machine as it will be once
 * the disks it is opening are open: one that is starting or being created when its key is lost finds out by the refusal,
 * or stops right after the open, and ends not running in both cases (G2).
 */
export const impactOf = (vm: Vm, supposed: SupposedLoss): Impact | undefined => {
  if ((vm.status !== 'creating' && vm.status !== 'active') || currentWork(vm)?.kind === 'delete') return undefined;
  const of: readonly Pick<VmDisk, 'disk' | 'set' | 'keyVersion'>[] = vm.disks;
  const disks = of.filter((disk) => isUnder(disk, supposed)).map(({ disk }) => disk);
  if (disks.length === 0) return undefined;
  const stop = stopForKeyLoss({
    loss: {
      reason: 'KEY_DISABLED',
      set: supposed.set,
      keyVersion: '',
      since: 0,
      traceId: '',
      accessEpoch: afterAnyOpen,
    },
    work: nobodysWork,
    isUnder: (disk) => isUnder({ ...disk, set: supposed.set }, supposed),
    isInstant: false,
  });
  return { outcome: stop(onceOpen(vm)).length > 0 ? 'STOPS' : 'FAILS_AT_NEXT_START', disks };
};

/** Newer than every unwrap. */
const afterAnyOpen = Number.MAX_SAFE_INTEGER;

/** Of a stop that is only thought of; it is in no event that is stored. */
const nobodysWork: Work = { id: '', kind: 'keyStop', at: 0, correlationId: '', causationId: '', caller: '' };

/** A disk that is not made yet has no version: it will be under one that its set names, so it counts. */
const isUnder = ({ set, keyVersion }: Pick<VmDisk, 'set' | 'keyVersion'>, supposed: SupposedLoss): boolean =>
  set === supposed.set && (keyVersion === '' || supposed.keyVersions.has(keyVersion));

/** The machine once it has every disk open that it is about to open. */
const onceOpen = (vm: Creating | Machine): Vm => {
  if (vm.status === 'creating') return evolve(vm, { type: 'VmCreated', opened: opensOf(vm.disks), disks: [], at: 0 });
  const { power } = vm;
  const starting =
    power.state === 'stopping' && power.work.kind === 'restart'
      ? evolve(vm, { type: 'VmStarting', work: power.work, from: 'stopped', at: 0 })
      : vm;
  if (starting.status !== 'active') return starting;
  const opening = starting.disks.filter(({ access }) => access === 'opening');
  return evolve(starting, { type: 'DisksOpened', opened: opensOf(opening), at: 0 });
};

const opensOf = (disks: readonly (PlannedDisk | VmDisk)[]): readonly OpenedDisk[] =>
  disks.map(({ disk, sku, set, keyVersion }) => ({ disk, sku, set, keyVersion, accessEpoch: 0, attachEpoch: 1 }));
