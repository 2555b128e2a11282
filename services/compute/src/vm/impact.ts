import { FINAL_EPOCH } from '@interlock/access';
import { evolve } from './decider.ts';
import type { OpenedDisk } from './events.ts';
import { stopForKeyLoss } from './key-loss.ts';
import type { PlannedDisk, VmDisk, Work } from './machine.ts';
import { type Creating, currentWork, type Machine, type Vm } from './state.ts';

/** A supposed loss of some key versions of a set. */
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
 * What a loss would do to a machine; `undefined`: nothing. The function that stops machines decides, on the machine as it is
 * once the disks being opened are open: a machine that is starting or being created when its key is lost fails or stops right
 * after the open, so it does not run in both cases (G2).
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
      accessEpoch: FINAL_EPOCH,
    },
    work: supposedWork,
    isUnder: (disk) => isUnder({ ...disk, set: supposed.set }, supposed),
    isInstant: false,
  });
  return { outcome: stop(onceOpen(vm)).length > 0 ? 'STOPS' : 'FAILS_AT_NEXT_START', disks };
};

/** The work of the supposed stop. It is never stored. */
const supposedWork: Work = { id: '', kind: 'keyStop', at: 0, correlationId: '', caller: '' };

/** A disk that is not created yet has no version: it will get one of its set, so it counts. */
const isUnder = ({ set, keyVersion }: Pick<VmDisk, 'set' | 'keyVersion'>, supposed: SupposedLoss): boolean =>
  set === supposed.set && (keyVersion === '' || supposed.keyVersions.has(keyVersion));

/** The machine once every disk it is about to open is open. */
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
