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

/** Where a VM host keeps its placements: what is put there survives the process and a power failure. */
export interface PlacementFiles {
  /** All of them, in any order. @throws Error if one is malformed */
  read(): readonly Placement[];
  /** Stores a placement in the place of the machine's earlier one: durably when this returns, or as it was before. @throws Error of storage */
  put(placement: Placement): void;
  /** Removes what is stored of a machine, if anything is. @param vm full name */
  remove(vm: string): void;
}

/**
 * The placements of a VM host, durable: in memory, and each in a file of its own. They are not in the folders of the machines, because a
 * machine begins with an empty folder, and what is stopped must stay known although no guest ever ran here.
 */
export class Placements {
  readonly #files: PlacementFiles;
  readonly #known: Map<string, Placement>;

  /** @throws Error if a file is malformed */
  constructor(files: PlacementFiles) {
    this.#files = files;
    this.#known = new Map(files.read().map((one) => [one.vm, one]));
  }

  of(vm: string): Placement | undefined {
    return this.#known.get(vm);
  }

  /** All of them, in order of the machines' names. */
  all(): readonly Placement[] {
    return [...this.#known.values()].toSorted((one, other) => (one.vm < other.vm ? -1 : 1));
  }

  /**
   * Stores a placement, as `PlacementFiles.put`.
   * @throws Error of storage; memory has the placement then as well: this process refuses what is outdated
   */
  put(placement: Placement): void {
    this.#known.set(placement.vm, placement);
    this.#files.put(placement);
  }

  /** Removes what is known of a machine. */
  remove(vm: string): void {
    this.#known.delete(vm);
    this.#files.remove(vm);
  }
}
