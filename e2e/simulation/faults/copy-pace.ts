import type { RecordedEvent } from '@interlock/event-store';
import type { SeededRandom, VirtualClock } from '@interlock/runtime';
import { beginningOf, isEndOfCopy } from '../../oracle/model/copies.ts';

/**
 * How long the storage takes over copies. Volumes are small here, so that a copy would be over before anything could happen to
 * it; a real one takes minutes. While copies are slow some of them take long, for each of their steps on the copy: so they meet
 * losses, crashes, cuts and deletions of either end.
 */
export interface CopyPace {
  /** Call it with each event that the disk service stores. */
  apply(event: RecordedEvent): void;
  /** What a step on the volume waits for; undefined where it is nothing. */
  step(volumeId: string): Promise<void> | undefined;
  /** Some of the copies that begin from now on take long. */
  dawdle(): void;
  /** No copy takes long any more, those under way included. At first it is so. */
  hurry(): void;
}

/** Share of copies that take long. */
const slowCopies = 0.8;
/** Longest step of a long copy, in milliseconds: shorter than a lease, or well beyond it; and what part of it a step takes at least. */
const stepMsMin = 4_000;
const stepMsMax = 26_000;
const leastOfStep = 0.25;

export const createCopyPace = (clock: Pick<VirtualClock, 'alarm'>, random: SeededRandom): CopyPace => {
  let isHurried = true;
  /** Longest step of each copy under way that takes long, by its volume; and which volume that is, by stream. */
  const steps = new Map<string, number>();
  const volumes = new Map<string, string>();
  const waiting = new Set<() => void>();

  return {
    apply(event) {
      if (isHurried) return;
      const begun = beginningOf(event);
      if (begun && random.chance(slowCopies)) {
        steps.set(begun.volumeId, stepMsMin + random.fraction() * (stepMsMax - stepMsMin));
        volumes.set(event.stream, begun.volumeId);
      } else if (isEndOfCopy(event)) {
        // What was copied is a disk like any other from here on.
        steps.delete(volumes.get(event.stream) ?? '');
        volumes.delete(event.stream);
      }
    },
    step(volumeId) {
      if (steps.size === 0) return undefined;
      const longestMs = steps.get(volumeId);
      if (longestMs === undefined) return undefined;
      return new Promise((resolve) => {
        const goOn = (): void => {
          waiting.delete(goOn);
          alarm.cancel();
          resolve();
        };
        const alarm = clock.alarm((leastOfStep + (1 - leastOfStep) * random.fraction()) * longestMs, goOn);
        waiting.add(goOn);
      });
    },
    dawdle() {
      isHurried = false;
    },
    hurry() {
      isHurried = true;
      steps.clear();
      for (const goOn of [...waiting]) goOn();
    },
  };
};
