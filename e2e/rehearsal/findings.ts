import { type PartOf, type RuleId, rules } from './rules.ts';

/** One requirement of a rule: whether it holds, and what was seen. */
export interface Finding {
  readonly holds: boolean;
  readonly seen: string;
}

/** The verdict on a rule. */
export interface RuleVerdict {
  /** `CMK-100` */
  readonly id: string;
  readonly title: string;
  readonly verdict: 'pass' | 'fail';
  /** What was seen, as a text with figures; for a failure, first what was seen instead. */
  readonly evidence: string;
}

/** Collects what the steps see, for the verdict on each rule. */
export interface Findings {
  readonly see: See;
  /** The verdict on every rule. @param problems of the rehearsal: reported if a part has shown nothing */
  verdicts(problems: readonly string[]): readonly RuleVerdict[];
}

/** Reports what a part of the rehearsal shows about a rule. */
export type See = <Id extends RuleId>(rule: Id, part: PartOf<Id>, ...findings: readonly Finding[]) => void;

export const openFindings = (): Findings => {
  const seen = new Map<RuleId, Map<string, readonly Finding[]>>();
  return {
    see(rule, part, ...findings) {
      const ofRule = seen.get(rule) ?? new Map<string, readonly Finding[]>();
      seen.set(rule, ofRule.set(part, [...(ofRule.get(part) ?? []), ...findings]));
    },
    verdicts: (problems) =>
      (Object.keys(rules) as readonly RuleId[]).map((id) => verdictOf(id, seen.get(id) ?? new Map(), problems)),
  };
};

/** A rule fails if one of its parts shows nothing: what was not observed is not proved. */
const verdictOf = (
  id: RuleId,
  seen: ReadonlyMap<string, readonly Finding[]>,
  problems: readonly string[],
): RuleVerdict => {
  const { title, parts } = rules[id];
  const missing = parts.filter((part) => (seen.get(part) ?? []).length === 0);
  if (missing.length > 0) {
    const why = problems.length === 0 ? '' : ` because: ${problems.join('; ')}`;
    return { id, title, verdict: 'fail', evidence: `not seen: ${missing.join(', ')}${why}` };
  }
  const findings = parts.flatMap((part) => seen.get(part) ?? []);
  const wrong = findings.filter(({ holds }) => !holds);
  const shown = wrong.length > 0 ? wrong : findings;
  return {
    id,
    title,
    verdict: wrong.length === 0 ? 'pass' : 'fail',
    evidence: shown.map(({ holds, seen: text }) => (holds ? text : `NOT AS DEMANDED: ${text}`)).join('; '),
  };
};

/** A finding. */
export const finding = (holds: boolean, seen: string): Finding => ({ holds, seen });

/** A finding about several things: it holds if it holds for each, and there is at least one. @param seen about those that count */
export const all = <Thing>(
  things: readonly Thing[],
  holds: (thing: Thing) => boolean,
  seen: (things: readonly Thing[]) => string,
): Finding => {
  const wrong = things.filter((thing) => !holds(thing));
  return wrong.length > 0 ? finding(false, seen(wrong)) : finding(things.length > 0, seen(things));
};

/** The same with a text for each. */
export const each = <Thing>(
  things: readonly Thing[],
  holds: (thing: Thing) => boolean,
  seen: (thing: Thing) => string,
  prefix = '',
): Finding => all(things, holds, (some) => `${prefix}${listed(some.map(seen))}`);

/** `a, b and 3 more` */
export const listed = (words: readonly string[], shown = 8): string => {
  if (words.length === 0) return 'none';
  const rest = words.length - shown;
  return rest > 0 ? `${words.slice(0, shown).join(', ')} and ${rest} more` : words.join(', ');
};

/** `versions/0123…` shortened for readers. */
export const shortVersion = (keyVersion: string): string => {
  const [key = '', version = ''] = keyVersion.replace(/^.*\/keys\//, '').split('/versions/');
  return version === '' ? key : `${key}/${version.slice(0, 8)}`;
};

/** `12.3 ms` */
export const millis = (ms: number): string => `${ms < 100 ? ms.toFixed(1) : Math.round(ms)} ms`;
