import type { LossSeen, MachineAfterLoss } from '../evidence/evidence.ts';
import { each, type Finding, finding, listed, millis, rule, short } from './rule.ts';

/** Rules about losing a key (CMK-100 to CMK-111). */
export const losingRules = [
  rule(
    'CMK-100',
    'Disabling or deleting the key stops every machine with any disk under it',
    ['impact', 'disabled', 'deleted'],
    ({ impact, disabled, deleted }) => [
      predicted(impact.stops, 'stops', disabled, ({ power }) => power === 'STOPPED'),
      ...[disabled, deleted].flatMap((loss) => stopped(loss, () => true)),
    ],
  ),

  rule(
    'CMK-101',
    'That holds for Premium SSD, Standard SSD and Standard HDD',
    ['disabled', 'deleted'],
    ({ disabled, deleted }) =>
      [disabled, deleted].flatMap((loss) =>
        ['PREMIUM_SSD', 'STANDARD_SSD', 'STANDARD_HDD'].flatMap((sku) =>
          stopped(loss, ({ classes }) => classes.length === 1 && classes.includes(sku)),
        ),
      ),
  ),

  rule(
    'CMK-102',
    'A machine with only ultra disks under the key keeps running; given back and started, it does not come up',
    ['impact', 'disabled', 'deleted', 'ultraWhileDisabled'],
    ({ impact, disabled, deleted, ultraWhileDisabled }) => {
      const { start, namesDisk } = ultraWhileDisabled;
      return [
        predicted(impact.failsAtNextStart, 'runs on and fails at its next start', disabled, ({ name }) => {
          return name === ultraWhileDisabled.machine && start.outcome === 'failed';
        }),
        ...[disabled, deleted].map((loss) =>
          untouched(
            loss.cause,
            loss.machines.filter(({ onLoss }) => onLoss === 'keeps running'),
          ),
        ),
        finding(
          start.outcome === 'failed' && start.code === 'KEY_DISABLED' && start.power === 'DEALLOCATED' && namesDisk,
          `given back and started it ${start.outcome} (${start.code}), is ${start.power}, and the failure ${namesDisk ? 'names' : 'does not name'} its ultra disk: ${start.message}`,
        ),
      ];
    },
  ),

  rule(
    'CMK-103',
    'A machine with ultra and other disks under the key stops',
    ['disabled', 'deleted'],
    ({ disabled, deleted }) =>
      [disabled, deleted].flatMap((loss) =>
        stopped(loss, ({ classes }) => classes.includes('ULTRA') && classes.length > 1),
      ),
  ),

  rule(
    'CMK-105',
    'Withdrawing the identity’s access blocks all data under the key',
    ['withdrawn', 'blockedWhileWithdrawn', 'granted'],
    ({ withdrawn, blockedWhileWithdrawn, granted }) => [
      ...stopped(withdrawn, () => true),
      each(
        blockedWhileWithdrawn,
        ({ outcome, reason }) => outcome === 'refused' && reason === 'ACCESS_DENIED',
        (seen) => listed(seen.map(({ what, outcome, reason }) => `${what}: ${outcome} ${reason}`)),
      ),
      each(
        granted.starts,
        ({ outcome }) => outcome === 'running',
        (seen) =>
          `granted again: ${listed(seen.map(({ machine, outcome, code }) => `${machine} ${outcome} ${code}`.trim()))}`,
      ),
    ],
  ),

  rule(
    'CMK-106',
    'While the key is unusable none of these machines can be started',
    ['disabled', 'deleted', 'withdrawn', 'ultraWhileDisabled'],
    ({ disabled, deleted, withdrawn, ultraWhileDisabled }) => [
      ...[disabled, deleted, withdrawn].map(({ cause, starts }) =>
        each(
          starts,
          ({ outcome, code, power }) => outcome === 'failed' && code === cause && power === 'STOPPED',
          (seen) =>
            `${cause}: ${listed(
              seen.map(({ machine, outcome, code, power }) => `${machine} ${outcome} (${code}), ${power}`),
              8,
            )}`,
        ),
      ),
      finding(
        disabled.starts.length === disabled.machines.filter(({ onLoss }) => onLoss === 'stops').length,
        `all ${disabled.starts.length} stopped machines were tried`,
      ),
      finding(
        ultraWhileDisabled.start.outcome === 'failed',
        `deallocated ${ultraWhileDisabled.machine}: ${ultraWhileDisabled.start.outcome}`,
      ),
    ],
  ),

  rule(
    'CMK-110',
    'What needs the data key fails at once with the reason, and leaves nothing half-made',
    ['refusedWhileDisabled'],
    ({ refusedWhileDisabled: { attempts, leftovers, hostPower, hostDataDisks, spareState } }) => [
      each(
        attempts,
        ({ outcome, reason }) => outcome === 'refused' && reason === 'KEY_DISABLED',
        (seen) =>
          listed(seen.map(({ what, outcome, reason, tookMs }) => `${what}: ${outcome} ${reason} in ${millis(tookMs)}`)),
      ),
      finding(attempts.length === 4, `${attempts.length} of 4 kinds were tried`),
      each(
        leftovers,
        ({ code }) => code === 'NOT_FOUND',
        (seen) => listed(seen.map(({ what, code }) => `${what}: ${code}`)),
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
    ['disabled', 'deleted', 'withdrawn'],
    ({ disabled, deleted, withdrawn }) =>
      [disabled, deleted, withdrawn].map((loss) =>
        untouched(
          loss.cause,
          loss.machines.filter(({ onLoss }) => onLoss === 'untouched'),
        ),
      ),
  ),
];

/** Those machines must have stopped, with the reason, and I/O on their disks must have ended. */
function stopped(loss: LossSeen, isMeant: (machine: MachineAfterLoss) => boolean): readonly Finding[] {
  const meant = loss.machines.filter((machine) => machine.onLoss === 'stops' && isMeant(machine));
  const after = (at: number | undefined) => (at ?? Number.NaN) - loss.committedAt;
  return [
    each(
      meant,
      ({ power, reason, reasonKeyVersion, stoppedAt, lastGoodIoAt }) =>
        power === 'STOPPED' &&
        reason === loss.cause &&
        reasonKeyVersion === loss.keyVersion &&
        stoppedAt !== undefined &&
        lastGoodIoAt !== undefined &&
        lastGoodIoAt <= stoppedAt,
      (seen) =>
        `${loss.cause}: ${listed(
          seen.map(
            ({ name, power, reason, reasonDisk, stoppedAt, lastGoodIoAt }) =>
              `${name} ${power} after ${millis(after(stoppedAt))} (${reason || 'no reason'} of ${short(reasonDisk)}), last good I/O ${millis(after(lastGoodIoAt))}`,
          ),
          8,
        )}`,
    ),
  ];
}

/** The loss must not have affected those machines. */
function untouched(cause: string, machines: readonly MachineAfterLoss[]): Finding {
  return each(
    machines,
    ({ power, reason, startTimeBefore, startTimeAfter, io }) =>
      power === 'RUNNING' &&
      reason === '' &&
      startTimeBefore === startTimeAfter &&
      io.failed === 0 &&
      io.reads > 0 &&
      io.writes > 0,
    (seen) =>
      `${cause}: ${listed(seen.map(({ name, power, io }) => `${name} ${power}, ${io.reads + io.writes} reads and writes since, ${io.failed} failed${io.failure && ` (${io.failure})`}`))}`,
  );
}

/** The preview named exactly the machines to which it happened. */
const predicted = (
  names: readonly string[],
  how: string,
  { machines }: LossSeen,
  happened: (machine: MachineAfterLoss) => boolean,
): Finding => {
  const came = machines.filter(happened).map(({ name }) => name);
  const isSame = came.toSorted().join() === names.toSorted().join();
  return finding(isSame && came.length > 0, `predicted: ${how} ${listed(names)}; it was ${listed(came)}`);
};
