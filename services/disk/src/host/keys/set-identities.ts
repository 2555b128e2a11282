import type { SetKey } from './set-keys.ts';

/** What this host knows about the identities of one set, which has one at a time. */
interface Identities {
  /** Those whose deletion the set published. */
  readonly ended: Set<string>;
  /** Those that another one has followed here. */
  readonly former: Set<string>;
  /** As which one this host calls the vault, since which generation. */
  inForce: Pick<SetKey, 'principal' | 'generation'> | undefined;
}

/** Which identities sets had, and in which order, as far as this host has met them. */
export class SetIdentities {
  readonly #sets = new Map<string, Identities>();

  /** The set published that this identity is deleted. */
  end(set: string, principal: string): void {
    this.#of(set).ended.add(principal);
  }

  hasEnded(set: string, principal: string | undefined): boolean {
    return principal !== undefined && this.#sets.get(set)?.ended.has(principal) === true;
  }

  /** An identity was granted or used after another one. */
  follow(set: string, former: string | undefined, next: string | undefined): void {
    if (former !== undefined && former !== next) this.#of(set).former.add(former);
  }

  /** Whether another identity has followed this one here: it is not that of the set any more. */
  isFormer(set: string, principal: string): boolean {
    return this.#sets.get(set)?.former.has(principal) === true;
  }

  /** This host calls the vault as this identity from a generation of the set on. @returns false if it knows that or a later one */
  use(set: string, { principal, generation }: Pick<SetKey, 'principal' | 'generation'>): boolean {
    const known = this.#of(set);
    if (generation <= (known.inForce?.generation ?? -1)) return false;
    this.follow(set, known.inForce?.principal, principal);
    known.inForce = { principal, generation };
    return true;
  }

  /** Whether this host calls as another identity than this one. */
  isReplaced(set: string, principal: string): boolean {
    const inForce = this.#sets.get(set)?.inForce?.principal;
    return inForce !== undefined && principal !== inForce;
  }

  /** The set was deleted. */
  forget(set: string): void {
    this.#sets.delete(set);
  }

  #of(set: string): Identities {
    const known = this.#sets.get(set);
    if (known) return known;
    const added: Identities = { ended: new Set(), former: new Set(), inForce: undefined };
    this.#sets.set(set, added);
    return added;
  }
}
