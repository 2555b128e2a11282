import type { SeededRandom } from '@interlock/runtime';
import type { Candidate, Played } from './candidate.ts';
import { changeCandidate } from './change.ts';
import { drawCandidate, type Material } from './draw.ts';

/** Share of candidates that depend on no other. */
const freshShare = 0.2;

interface Close {
  readonly candidate: Candidate;
  readonly used: number;
}

/** `lastGoodIo <= 5000ms` of `premium.lastGoodIo <= 5000ms`: groups share their limits. */
const withoutGroup = (limit: string): string => limit.slice(limit.indexOf('.') + 1);

/** For each limit, the candidate that came closest to it, and the choice of the next candidate. */
export class Closest {
  readonly #material: Material;
  readonly #random: SeededRandom;
  readonly #byLimit = new Map<string, Close>();

  constructor(material: Material, random: SeededRandom) {
    this.#material = material;
    this.#random = random;
  }

  /** The limit of which the largest share was used, and that share; undefined if none was tested. */
  get closest(): { readonly limit: string; readonly used: number } | undefined {
    const all = [...this.#byLimit].map(([limit, { used }]) => ({ limit, used }));
    return all.toSorted((a, b) => b.used - a.used)[0];
  }

  /** Adds a history. One that proves nothing is no parent: it was refused a step, and so would be its changes. */
  add(candidate: Candidate, { outcome, closeness }: Pick<Played, 'outcome' | 'closeness'>): void {
    if (outcome === 'inconclusive') return;
    for (const [limit, used] of Object.entries(closeness))
      if (used > (this.#byLimit.get(limit)?.used ?? Number.NEGATIVE_INFINITY))
        this.#byLimit.set(limit, { candidate, used });
  }

  /** The next candidate: a change of one that came close to a limit, or one of its own. Limits are equally likely, however many groups have them. */
  next(): Candidate {
    const random = this.#random;
    if (this.#byLimit.size === 0 || random.chance(freshShare)) return drawCandidate(this.#material, random);
    const limit = random.pick([...new Set([...this.#byLimit.keys()].map(withoutGroup))]);
    const parents = [...this.#byLimit].filter(([name]) => withoutGroup(name) === limit).map(([, close]) => close);
    return changeCandidate(random.pick(parents).candidate, this.#material, random);
  }
}
