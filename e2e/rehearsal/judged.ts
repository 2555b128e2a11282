import type { StartRecord, Verdict } from '@interlock/lab';
import { each, type Finding, finding, listed, type See } from './findings.ts';

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

/** What the-key-is-lost.experiment.yaml shows. */
export const seeKeyLost = (see: See, verdict: Verdict): void => {
  const of = (...prefixes: readonly string[]): readonly Finding[] => judged(verdict, ...prefixes);
  const ofEach = (quantity: string): readonly string[] =>
    ['hdd', 'ssd', 'premium', 'premium-v2', 'mixed'].map((sku) => `vm-${sku}.${quantity}`);
  see('CMK-10', 'lost key', ...of('vm-hdd.stopped', 'vm-ssd.stopped', 'vm-premium.stopped'));
  see('CMK-100', 'lost key', ...of('CMK-100 ', 'vm-hdd.', 'vm-ssd.', 'vm-premium.', 'vm-premium-v2.'));
  see('CMK-101', 'lost key', ...of(...ofEach('stopped').slice(0, 4)));
  see('CMK-102', 'lost key', ...of('CMK-102 ', 'vm-ultra.running', 'vm-ultra.failed'));
  see('CMK-103', 'lost key', ...of('CMK-103 ', 'vm-mixed.stopped'));
  see('CMK-105', 'lost key', ...of('withdrawn: unwrap-refused', 'vm-hdd.startRefused <= withdrawn', 'vm-hdd.back'));
  see('CMK-106', 'lost key', ...of('CMK-106 ', ...ofEach('startRefused')));
  see('CMK-111', 'lost key', ...of('CMK-111 ', 'vm-platform.', 'vm-other-key.'));
  see('CMK-120', 'lost key', ...of(...ofEach('back')));
  see('CMK-127', 'lost key', ...of('bytesLost'));
};

/**
 * What every-way.experiment.yaml shows. Each cause is a group of it: its stop, its reason and its return must have held.
 * @param machines the records of the run
 */
export const seeEveryWay = (
  see: See,
  verdict: Verdict,
  machines: readonly { readonly group: string; readonly starts: readonly Pick<StartRecord, 'outcome' | 'reason'>[] }[],
): void => {
  const of = (...prefixes: readonly string[]): readonly Finding[] => judged(verdict, ...prefixes);
  const by = (...causes: readonly string[]): readonly Finding[] =>
    of(...causes.map((cause) => `${cause}.`), 'bytesLost');
  see('CMK-10', 'every way', ...of('remove-policy.stopped'));
  see('CMK-27', 'every way', ...by('switch-permission-model'));
  see('CMK-38', 'every way', ...by('set-identity-none', 'delete-identity'));
  see('CMK-100', 'every way', ...of('disable-key.', 'delete-key.'));
  see('CMK-104', 'every way', ...by('expire-key', 'not-yet-valid'));
  see('CMK-105', 'every way', ...of('remove-policy.'));
  see('CMK-106', 'every way', ...of('ultra.startRefused'));
  see('CMK-120', 'every way', ...of('disable-key.', 'disable-version.', 'bytesLost'));
  see('CMK-122', 'every way', ...by('delete-key'));
  const permissions = ['get', 'wrap', 'unwrap'].map((permission) => `remove-permission-${permission}`);
  const operations = ['wrap', 'unwrap'].map((operation) => `remove-operation-${operation}`);
  see('CMK-123', 'every way', ...by('remove-policy', 'remove-role', ...permissions, ...operations, 'close-network'));
  const starts = machines.flatMap((machine) => (machine.group === 'ultra' ? machine.starts : []));
  see(
    'CMK-126',
    'every way',
    finding(
      starts.some(({ outcome, reason }) => outcome === 'failed' && reason === 'KEY_DISABLED') &&
        starts.at(-1)?.outcome === 'running',
      `starts of a machine with an ultra disk, before and after the key was enabled: ${listed(starts.map(({ outcome, reason }) => `${outcome} ${reason}`.trim()))}`,
    ),
  );
  see('CMK-127', 'every way', ...of('bytesLost'));
  see('CMK-133', 'every way', ...by('delete-vault', 'recover-vault-without-role'));
};
