import type { Verdict } from '@interlock/lab';
import { each, type Finding, finding, listed, rule } from './rule.ts';

/**
 * What the lab's judge found: for each prefix, every rule of the verdict whose text begins with it must have held, and there must be
 * one. A run that the judge does not trust proves nothing.
 */
export const judged = ({ outcome, because, rules }: Verdict, ...prefixes: readonly string[]): readonly Finding[] => [
  finding(outcome !== 'inconclusive' && outcome !== 'aborted', `the run is ${outcome}: ${because}`),
  ...prefixes.map((prefix) => {
    const meant = rules.filter(({ text }) => text.startsWith(prefix));
    if (meant.length === 0) return finding(false, `the verdict of the lab has no rule "${prefix}"`);
    return each(
      meant,
      ({ result }) => result === 'held',
      (seen) => listed(seen.map(({ text, result, seen: measured }) => `${text} ${result}: ${measured}`)),
    );
  }),
];

/** A rule about causes: each is a group of every-way.experiment.yaml, with its stop, its reason and its return. */
const ruleOfCauses = (id: string, title: string, ...causes: readonly string[]) =>
  rule(id, title, ['everyWay'], ({ everyWay }) => judged(everyWay, ...causes.map((cause) => `${cause}.`), 'bytesLost'));

/** Rules about ways to lose a key, each played on a machine of its own. */
export const causeRules = [
  ruleOfCauses(
    'CMK-27',
    'A grant of the wrong model has no effect: switching the model withdraws the access',
    'switch-permission-model',
  ),
  ruleOfCauses(
    'CMK-38',
    'A set without an identity is cut off from its key, until it has one that was granted',
    'set-identity-none',
    'delete-identity',
  ),
  ruleOfCauses('CMK-104', 'A key that is out of its dates serves no machine', 'expire-key', 'not-yet-valid'),
  ruleOfCauses('CMK-122', 'A deleted key that is recovered brings them back', 'delete-key'),
  ruleOfCauses(
    'CMK-123',
    'Access that is given back does, too: by a policy, a role, the key’s own operations or the vault’s network, in part or in whole',
    'remove-policy',
    'remove-role',
    'remove-permission-get',
    'remove-permission-wrap',
    'remove-permission-unwrap',
    'remove-operation-wrap',
    'remove-operation-unwrap',
    'close-network',
  ),
  ruleOfCauses(
    'CMK-133',
    'A deleted vault takes its keys along; roles on it do not come back with it',
    'delete-vault',
    'recover-vault-without-role',
  ),
];
