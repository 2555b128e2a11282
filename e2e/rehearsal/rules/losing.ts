import type { MachineAfterLoss } from '../evidence/evidence.ts';
import { judged } from './lab.ts';
import { each, finding, listed, millis, rule } from './rule.ts';

/** Rules about losing a key (CMK-100 to CMK-111). */
export const losingRules = [
  rule(
    'CMK-100',
    'Disabling or deleting the key stops every machine with any disk under it',
    ['impact', 'keyLost', 'everyWay', 'deleted'],
    ({ impact, keyLost, everyWay, deleted }) => [
      ...judged(keyLost, 'CMK-100 ', 'vm-hdd.', 'vm-ssd.', 'vm-premium.', 'vm-premium-v2.'),
      ...judged(everyWay, 'disable-key.', 'delete-key.'),
      stoppedByDeletion(deleted),
      predicted(impact.stops, 'stops', namesOf(deleted, 'stops')),
    ],
  ),

  rule('CMK-101', 'That holds for Premium SSD, Standard SSD and Standard HDD', ['keyLost'], ({ keyLost }) =>
    judged(keyLost, ...['hdd', 'ssd', 'premium', 'premium-v2'].map((sku) => `vm-${sku}.stopped`)),
  ),

  rule(
    'CMK-102',
    'A machine with only ultra disks under the key keeps running; given back and started, it does not come up',
    ['impact', 'keyLost', 'deleted', 'ultraWhileDeleted'],
    ({ impact, keyLost, deleted, ultraWhileDeleted: { start, namesDisk } }) => [
      ...judged(keyLost, 'CMK-102 ', 'vm-ultra.running', 'vm-ultra.failed'),
      each(
        deleted.filter(({ onLoss }) => onLoss === 'keeps running'),
        ({ power }) => power === 'RUNNING',
        ({ name, power }) => `after the deletion ${name} is ${power}`,
      ),
      predicted(impact.failsAtNextStart, 'runs on and fails at its next start', namesOf(deleted, 'keeps running')),
      finding(
        start.outcome === 'failed' && start.code === 'KEY_DELETED' && start.power === 'DEALLOCATED' && namesDisk,
        `given back and started it ${start.outcome} (${start.code}), is ${start.power}, and the failure ${namesDisk ? 'names' : 'does not name'} its ultra disk: ${start.message}`,
      ),
    ],
  ),

  rule('CMK-103', 'A machine with ultra and other disks under the key stops', ['keyLost'], ({ keyLost }) =>
    judged(keyLost, 'CMK-103 ', 'vm-mixed.stopped'),
  ),

  rule(
    'CMK-105',
    'Withdrawing the identity’s access blocks all data under the key',
    ['keyLost', 'everyWay'],
    ({ keyLost, everyWay }) => [
      ...judged(keyLost, 'withdrawn: unwrap-refused', 'vm-hdd.startRefused <= withdrawn', 'vm-hdd.back'),
      ...judged(everyWay, 'remove-policy.'),
    ],
  ),

  rule(
    'CMK-106',
    'While the key is unusable none of these machines can be started',
    ['keyLost', 'everyWay', 'ultraWhileDeleted'],
    ({ keyLost, everyWay, ultraWhileDeleted: { machine, start } }) => [
      ...judged(
        keyLost,
        'CMK-106 ',
        ...['hdd', 'ssd', 'premium', 'premium-v2', 'mixed'].map((sku) => `vm-${sku}.startRefused`),
      ),
      ...judged(everyWay, 'ultra.startRefused'),
      finding(start.outcome === 'failed', `deallocated ${machine}: ${start.outcome}`),
    ],
  ),

  rule(
    'CMK-110',
    'What needs the data key fails at once with the reason, and leaves nothing half-made',
    ['refusedWhileDeleted'],
    ({ refusedWhileDeleted: { attempts, leftovers, hostPower, hostDataDisks, spareState } }) => [
      each(
        attempts,
        ({ outcome, reason }) => outcome === 'refused' && reason === 'KEY_DELETED',
        ({ what, outcome, reason, tookMs }) => `${what}: ${outcome} ${reason} in ${millis(tookMs)}`,
      ),
      finding(attempts.length === 4, `${attempts.length} of 4 kinds were tried`),
      each(
        leftovers,
        ({ code }) => code === 'NOT_FOUND',
        ({ what, code }) => `${what}: ${code}`,
      ),
      finding(
        hostPower === 'RUNNING' && hostDataDisks === 0 && spareState === 'UNATTACHED',
        `the machine that was to get a disk is ${hostPower} with ${hostDataDisks} data disks; the disk is ${spareState}`,
      ),
    ],
  ),

  rule(
    'CMK-111',
    'Machines without a disk under the key, and those under another key of the vault, are not touched',
    ['keyLost', 'deleted'],
    ({ keyLost, deleted }) => [
      ...judged(keyLost, 'CMK-111 ', 'vm-platform.', 'vm-other-key.'),
      each(
        deleted.filter(({ onLoss }) => onLoss === 'untouched'),
        ({ power, reason }) => power === 'RUNNING' && reason === '',
        ({ name, power }) => `after the deletion ${name} is ${power}`,
      ),
    ],
  ),
];

/** Every machine that must stop when the key is deleted did, for that reason. */
export const stoppedByDeletion = (deleted: readonly MachineAfterLoss[]) =>
  each(
    deleted.filter(({ onLoss }) => onLoss === 'stops'),
    ({ power, reason }) => power === 'STOPPED' && reason === 'KEY_DELETED',
    ({ name, power, reason }) => `${name} is ${power} (${reason || 'no reason'})`,
    'after the deletion ',
  );

const namesOf = (deleted: readonly MachineAfterLoss[], onLoss: MachineAfterLoss['onLoss']): readonly string[] =>
  deleted.flatMap((machine) => (machine.onLoss === onLoss ? [machine.name] : []));

/** The preview named exactly the machines to which it happened. */
const predicted = (names: readonly string[], how: string, came: readonly string[]) =>
  finding(
    came.length > 0 && came.toSorted().join() === names.toSorted().join(),
    `predicted: ${how} ${listed(names)}; it was ${listed(came)}`,
  );
