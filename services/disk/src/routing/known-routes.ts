/**
 * Most names that are remembered. A route takes some 250 bytes (a name of 100 characters and its entry), so all of them 25 MB; the 10
 * hosts with 10,000 disks each of docs/sizing.md fit.
 */
export const routesMax = 100_000;

/**
 * The hosts of disks and snapshots as they were last read, so that a call needs no reading of its own. A route may be out of date:
 * the host refuses the call then, or does not respond. The oldest route makes room for a new one.
 */
export class KnownRoutes {
  readonly #max: number;
  readonly #hosts = new Map<string, string>();

  constructor(max: number = routesMax) {
    this.#max = max;
  }

  /** The hosts by full name, and the names that have to be read. */
  find(names: readonly string[]): { readonly found: Map<string, string>; readonly unknown: readonly string[] } {
    const found = new Map<string, string>();
    const unknown: string[] = [];
    for (const name of names) {
      const host = this.#hosts.get(name);
      if (host === undefined) unknown.push(name);
      else found.set(name, host);
    }
    return { found, unknown };
  }

  /** Replaces the routes of these names by what was read of them; what was not found is forgotten. */
  replace(names: readonly string[], read: ReadonlyMap<string, string>): void {
    for (const name of names) {
      this.#hosts.delete(name);
      const host = read.get(name);
      if (host !== undefined) this.#hosts.set(name, host);
    }
    for (const oldest of this.#hosts.keys()) {
      if (this.#hosts.size <= this.#max) break;
      this.#hosts.delete(oldest);
    }
  }
}
