import type { Mutant } from './mutant.ts';

/** Bugs in what runs guests at VM hosts. */
export const vmHostMutants: readonly Mutant[] = [
  {
    name: 'a close without an answer counts as a fence',
    guarantee: 'G2',
    file: 'services/compute/src/processes/stopping.ts',
    find: 'await closeAll(parts, [{ vm, disks, isDeallocated: false }], cause, { signal });',
    replace:
      'await closeAll(parts, [{ vm, disks, isDeallocated: false }], cause, { signal, untilMs: parts.clock.now() }).catch(() => undefined);',
    seenIn: 'omicron#5798: an instance counts as stopped while its host may run it',
  },
  {
    name: 'a VM host starts an outdated placement',
    guarantee: 'G2',
    file: 'services/compute/src/vm-host/placed-guests.ts',
    find: `      refuseOutdated(known, ref);
      if (known?.isStopped && this.find(ref)) throw stopped(ref);`,
    replace: '',
  },
  {
    name: 'a lost VM host that returns keeps its guests',
    guarantee: 'G2',
    file: 'services/compute/src/vm-host/registration.ts',
    find: 'if (isLost) await endLost(parts, signal);',
    replace: 'if (isLost && intervalMs < 0) await endLost(parts, signal);',
  },
  {
    name: 'the survey ends the guests of machines that run',
    guarantee: 'G3',
    file: 'services/compute/src/processes/orphans.ts',
    find: 'return !isOff(vm) && (at === undefined || isPlacedAt(vm, at));',
    replace: 'return !isOff(vm) && at === undefined;',
  },
  {
    name: 'the survey ends no guest of a machine that is off',
    guarantee: 'G2',
    file: 'services/compute/src/processes/orphans.ts',
    find: 'return !isOff(vm) && (at === undefined || isPlacedAt(vm, at));',
    replace: 'return at === undefined || isPlacedAt(vm, at);',
  },
];
