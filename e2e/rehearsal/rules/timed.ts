import type { TableCauseName } from '../../truth-table/causes.ts';
import type { TimedLoss } from '../evidence/timed.ts';
import { type Finding, finding, listed, millis, rule } from './rule.ts';

/** Rules about ways to lose a key that are timed, each with a few machines. */
export const timedRules = [
  rule(
    'CMK-27',
    'A grant of the wrong model has no effect: switching the model withdraws the access',
    ['timed'],
    ({ timed }) => timedFindings(timed, ['switch-permission-model']),
  ),
  rule(
    'CMK-38',
    'A set without an identity is cut off from its key, until it has one that was granted',
    ['timed'],
    ({ timed }) => timedFindings(timed, ['set-identity-none', 'delete-identity']),
  ),
  rule('CMK-104', 'A key that is out of its dates serves no machine', ['timed'], ({ timed }) =>
    timedFindings(timed, ['expire-key', 'not-yet-valid']),
  ),
  rule('CMK-122', 'A deleted key that is recovered brings them back', ['timed'], ({ timed }) =>
    timedFindings(timed, ['delete-key']),
  ),
  rule(
    'CMK-123',
    'Access that is given back does, too: by a policy, a role, the key’s own operations or the vault’s network, in part or in whole',
    ['timed'],
    ({ timed }) =>
      timedFindings(timed, [
        'remove-policy',
        'remove-role',
        'remove-permission get',
        'remove-permission wrap',
        'remove-permission unwrap',
        'remove-operation wrap',
        'remove-operation unwrap',
        'close-network',
      ]),
  ),
  rule(
    'CMK-133',
    'A deleted vault takes its keys along; roles on it do not come back with it',
    ['timed'],
    ({ timed }) => timedFindings(timed, ['delete-vault', 'recover-vault-without-role']),
  ),
];

/** For each cause: every machine stopped with its reason, did no more work, started again, and found what it had written. */
export const timedFindings = (timed: readonly TimedLoss[], causes: readonly TableCauseName[]): readonly Finding[] =>
  causes.flatMap((name) => {
    const loss = timed.find(({ cause }) => cause === name);
    if (loss === undefined) return [finding(false, `${name}: not played`)];
    const { reason, machines } = loss;
    const isGood = (machine: TimedLoss['machines'][number]): boolean =>
      machine.reason === reason &&
      machine.stoppedAfterMs >= 0 &&
      machine.lastGoodIoAfterMs <= machine.stoppedAfterMs &&
      machine.runningAfterMs >= 0 &&
      machine.written > 0 &&
      machine.verified === machine.written &&
      machine.mismatched === 0;
    const words = machines.map(
      ({ name: machine, reason: why, stoppedAfterMs, runningAfterMs, written, verified, mismatched }) =>
        `${machine} stopped after ${millis(stoppedAfterMs)} (${why}), ran again after ${millis(runningAfterMs)}, found ${verified} of ${written} records, ${mismatched} differed`,
    );
    return [finding(machines.length > 0 && machines.every(isGood), `${name}: ${listed(words)}`)];
  });
