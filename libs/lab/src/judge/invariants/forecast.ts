import type { DiskTruth } from '../model/disks.ts';
import type { Disturbances } from '../model/disturbances.ts';
import type { MachineTruth } from '../model/machines.ts';
import type { Truth } from '../model/truth.ts';
import type { Bounds } from './bounds.ts';

/** What a loss would stop at one moment. */
export interface Forecast {
  /** Names of machines. */
  readonly stops: ReadonlySet<string>;
  /** The moment, as the number of earlier events of machines. */
  readonly moves: number;
}

interface ForecastParts {
  readonly truth: Pick<Truth, 'nowMs'> & {
    readonly machines: Pick<MachineTruth, 'machines'>;
    readonly disks: Pick<DiskTruth, 'disks' | 'keyVersionOf'>;
  };
  readonly disturbances: Pick<Disturbances, 'lastAnyMs'>;
  readonly bounds: Pick<Bounds, 'settleMs'>;
}

/** Which machines a loss of a key version would stop, as the truth has it. */
export class StopForecast {
  readonly #parts: ForecastParts;
  /** The machine of each event of compute, in order. */
  readonly #moves: string[] = [];

  constructor(parts: ForecastParts) {
    this.#parts = parts;
  }

  /** Records each event of compute. */
  noteMove(stream: string): void {
    if (stream.startsWith('vm-')) this.#moves.push(stream.slice('vm-'.length));
  }

  /** Machines with a non-ultra disk under the version that run or start (CMK-100 to CMK-103); undefined while that is uncertain. */
  of(keyVersion: string): Forecast | undefined {
    const { truth, disturbances, bounds } = this.#parts;
    const disturbedMs = disturbances.lastAnyMs();
    if (disturbedMs !== undefined && truth.nowMs() - disturbedMs < bounds.settleMs / 10) return undefined;
    const stops = new Set<string>();
    for (const { name: vm, power, disks } of truth.machines.machines.values()) {
      if (power === 'stopping' || power === 'deallocating' || power === 'creating') return undefined;
      if (power !== 'running' && power !== 'starting') continue;
      for (const name of disks.keys()) {
        const disk = truth.disks.disks.get(name);
        if (!disk || disk.sku === 'ultra' || disk.set === '') continue;
        if (truth.disks.keyVersionOf(disk) === keyVersion) stops.add(vm);
      }
    }
    return { stops, moves: this.#moves.length };
  }

  /** Machines with an event since then: their state may have differed in between. */
  movedSince({ moves }: Forecast): ReadonlySet<string> {
    return new Set(this.#moves.slice(moves));
  }
}
