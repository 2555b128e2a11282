import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

/** The newest placement of a machine that a VM host knows. */
export interface Placement {
  /** Full name of the machine. */
  readonly vm: string;
  /** Unique id of the machine: after its deletion another one may have its name. */
  readonly machineId: string;
  /** Rises with each start of the machine, at whichever host. */
  readonly number: number;
  /** Whether that placement was stopped: it is never started again. */
  readonly isStopped: boolean;
}

/**
 * The placements of a VM host, durable: in memory, and each in a file of its own. They are not in the folders of the machines, because a
 * machine begins with an empty folder, and what is stopped must stay known although no guest ever ran here.
 */
export class Placements {
  readonly #folder: string;
  readonly #known: Map<string, Placement>;

  /** @param folder made if it is missing @throws Error if a file in it is malformed */
  constructor(folder: string) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#folder = folder;
    const files = readdirSync(folder).filter((name) => name.endsWith(suffix));
    this.#known = new Map(files.map((name) => readPlacement(join(folder, name))).map((one) => [one.vm, one]));
  }

  of(vm: string): Placement | undefined {
    return this.#known.get(vm);
  }

  /** All of them, in order of the machines' names. */
  all(): readonly Placement[] {
    return [...this.#known.values()].toSorted((one, other) => (one.vm < other.vm ? -1 : 1));
  }

  /**
   * Stores a placement: durably when this returns, or as it was before.
   * @throws Error of the file system; memory has the placement then as well: this process refuses what is outdated
   */
  put(placement: Placement): void {
    this.#known.set(placement.vm, placement);
    const path = this.#pathOf(placement.vm);
    writeFileSync(`${path}.new`, JSON.stringify(placement), { mode: 0o600, flush: true });
    renameSync(`${path}.new`, path);
    this.#flushFolder();
  }

  /** Removes what is known of a machine. */
  remove(vm: string): void {
    this.#known.delete(vm);
    const path = this.#pathOf(vm);
    if (existsSync(path)) rmSync(path);
  }

  /** The name of a machine is too long for that of a file. */
  #pathOf(vm: string): string {
    return join(this.#folder, `${createHash('sha256').update(vm).digest('hex')}${suffix}`);
  }

  /** Otherwise a power failure could take the new name of a file away. */
  #flushFolder(): void {
    const folder = openSync(this.#folder, 'r');
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  }
}

const suffix = '.json';

const readPlacement = (path: string): Placement => {
  const { vm, machineId, number, isStopped }: Partial<Placement> = JSON.parse(readFileSync(path, 'utf8'));
  if (vm && machineId && Number.isSafeInteger(number) && typeof isStopped === 'boolean')
    return { vm, machineId, number: Number(number), isStopped };
  throw new Error(`${path} does not name the placement of a machine`);
};
