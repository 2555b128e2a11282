import type { SeededRandom } from '@interlock/runtime';
import type { Candidate, Played } from './candidate.ts';
import { changeCandidate } from './change.ts';
import { drawCandidate, type Material } from './draw.ts';

/** Most candidates that are kept. */
const keptMax = 256;
/** Share of candidates that depend on no other. */
const freshShare = 0.25;
/** Share of the parents that came closest to a limit; the others reached something rare. */
const closeShare = 0.4;
/** Of so many drawn parents, the one that reached the rarest is changed. */
const drawn = 4;

interface Kept {
  readonly candidate: Candidate;
  readonly keys: readonly string[];
}

/** Candidates that reached something that none before them did, and the choice of the next one. */
export class Corpus {
  readonly #material: Material;
  readonly #random: SeededRandom;
  readonly #kept: Kept[] = [];
  /** In how many histories each key occurred. */
  readonly #counts = new Map<string, number>();
  /** For each limit, who came closest. */
  readonly #closest = new Map<string, { readonly candidate: Candidate; readonly used: number }>();

  constructor(material: Material, random: SeededRandom) {
    this.#material = material;
    this.#random = random;
  }

  /** How many states and decisions were reached. */
  get keys(): number {
    return this.#counts.size;
  }

  /** The history that came closest to a limit, with its limit; undefined if none was tested. */
  get closest(): { readonly limit: string; readonly used: number } | undefined {
    const all = [...this.#closest].map(([limit, { used }]) => ({ limit, used }));
    return all.toSorted((a, b) => b.used - a.used)[0];
  }

  /** Adds a history. One that proves nothing is no parent: it was refused a step, and so would be its changes. */
  add(candidate: Candidate, { outcome, keys, closeness }: Played): void {
    if (outcome === 'inconclusive') return;
    const isNew = keys.some((key) => !this.#counts.has(key));
    for (const key of keys) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    for (const [limit, used] of Object.entries(closeness)) {
      const before = this.#closest.get(limit)?.used ?? Number.NEGATIVE_INFINITY;
      if (used > before) this.#closest.set(limit, { candidate, used });
    }
    if (!isNew) return;
    this.#kept.push({ candidate, keys });
    if (this.#kept.length > keptMax) this.#forgetOne();
  }

  /** The next candidate: a change of one that came close or reached something rare, or one of its own. */
  next(): Candidate {
    const random = this.#random;
    const close = [...this.#closest.values()];
    if (this.#kept.length === 0 || random.chance(freshShare)) return drawCandidate(this.#material, random);
    const parent =
      close.length > 0 && random.chance(closeShare) ? random.pick(close).candidate : this.#rareOne().candidate;
    return changeCandidate(parent, random.pick(this.#kept).candidate, this.#material, random);
  }

  #rareOne(): Kept {
    const some = Array.from({ length: drawn }, () => this.#random.pick(this.#kept));
    return some.reduce((best, one) => (this.#rarity(one) > this.#rarity(best) ? one : best));
  }

  /** The sum of the shares that a candidate has in each of its keys. */
  #rarity({ keys }: Kept): number {
    return keys.reduce((sum, key) => sum + 1 / (this.#counts.get(key) ?? 1), 0);
  }

  #forgetOne(): void {
    const rarities = this.#kept.map((one) => this.#rarity(one));
    this.#kept.splice(rarities.indexOf(Math.min(...rarities)), 1);
  }
}
