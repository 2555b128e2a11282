import type { Evidence, Gathered } from '../evidence/evidence.ts';

/** The verdict on a rule. */
export interface Verdict {
  /** `CMK-100` */
  readonly id: string;
  readonly title: string;
  readonly verdict: 'pass' | 'fail';
  /** What was seen, as a text with figures; for a failure, first what was seen instead. */
  readonly evidence: string;
}

/** One requirement of a rule: whether it holds, and what was seen. */
export interface Finding {
  readonly holds: boolean;
  readonly seen: string;
}

/** A promise and how it is judged. */
export interface Rule {
  readonly id: string;
  readonly title: string;
  /** @param problems of the rehearsal: reported if evidence is missing */
  judge(evidence: Gathered, problems: readonly string[]): Verdict;
}

/**
 * A rule over the slices of evidence that it names. If one is missing it fails: what was not observed is not proved.
 * @param look pure: the same evidence always gives the same findings
 */
export const rule = <Slice extends keyof Evidence>(
  id: string,
  title: string,
  slices: readonly Slice[],
  look: (evidence: Pick<Evidence, Slice>) => readonly Finding[],
): Rule => ({
  id,
  title,
  judge: (evidence, problems) => {
    const missing = slices.filter((slice) => evidence[slice] === undefined);
    if (!hasAll(evidence, slices)) {
      const why = problems.length === 0 ? '' : ` because: ${problems.join('; ')}`;
      return { id, title, verdict: 'fail', evidence: `not seen: ${missing.join(', ')}${why}` };
    }
    const findings = look(evidence);
    const wrong = findings.filter(({ holds }) => !holds);
    const shown = wrong.length > 0 ? wrong : findings;
    return {
      id,
      title,
      // A rule without findings proves nothing.
      verdict: findings.length > 0 && wrong.length === 0 ? 'pass' : 'fail',
      evidence: shown.map(({ holds, seen }) => (holds ? seen : `NOT AS DEMANDED: ${seen}`)).join('; '),
    };
  },
});

const hasAll = <Slice extends keyof Evidence>(
  evidence: Gathered,
  slices: readonly Slice[],
): evidence is Gathered & Pick<Evidence, Slice> => slices.every((slice) => evidence[slice] !== undefined);

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
