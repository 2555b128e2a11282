import type { Verdict } from '@interlock/lab';
import type { Evidence } from '../evidence/evidence.ts';
import { each, type Finding, finding, rule } from './rule.ts';

/**
 * What the lab's judge found: for each prefix, every rule of the verdict whose text begins with it must have held, and there must be
 * one. A run that the judge does not trust proves nothing.
 */
export const judged = ({ outcome, because, rules }: Verdict, ...prefixes: readonly string[]): readonly Finding[] => [
  ...(outcome === 'inconclusive' || outcome === 'aborted' ? [finding(false, `the run is ${outcome}: ${because}`)] : []),
  ...prefixes.map((prefix) => {
    const meant = rules.filter(({ text }) => text.startsWith(prefix));
    if (meant.length === 0) return finding(false, `the verdict of the lab has no rule "${prefix}"`);
    return each(
      meant,
      ({ result }) => result === 'held',
      ({ text, result, seen: measured }) => `${text} ${result} (${measured})`,
    );
  }),
];

/** Each cause is a group of every-way.experiment.yaml: its stop, its reason and its return must have held. */
const everyWayBy =
  (...causes: readonly string[]) =>
  ({ everyWay }: Pick<Evidence, 'everyWay'>): readonly Finding[] =>
    judged(everyWay, ...causes.map((cause) => `${cause}.`), 'bytesLost');

/** Rules about ways to lose a key, each played on a machine of its own. */
export const causeRules = [
  rule(
    'CMK-27',
    'A grant of the wrong model has no effect: switching the model withdraws the access',
    ['everyWay'],
    everyWayBy('switch-permission-model'),
  ),
  rule(
    'CMK-38',
    'A set without an identity is cut off from its key, until it has one that was granted',
    ['everyWay'],
    everyWayBy('set-identity-none', 'delete-identity'),
  ),
  rule(
    'CMK-104',
    'A key that is out of its dates serves no machine',
    ['everyWay'],
    everyWayBy('expire-key', 'not-yet-valid'),
  ),
  rule('CMK-122', 'A deleted key that is recovered brings them back', ['everyWay'], everyWayBy('delete-key')),
  rule(
    'CMK-123',
    'Access that is given back does, too: by a policy, a role, the key’s own operations or the vault’s network, in part or in whole',
    ['everyWay'],
    everyWayBy(
      'remove-policy',
      'remove-role',
      'remove-permission-get',
      'remove-permission-wrap',
      'remove-permission-unwrap',
      'remove-operation-wrap',
      'remove-operation-unwrap',
      'close-network',
    ),
  ),
  rule(
    'CMK-133',
    'A deleted vault takes its keys along; roles on it do not come back with it',
    ['everyWay'],
    everyWayBy('delete-vault', 'recover-vault-without-role'),
  ),
];
