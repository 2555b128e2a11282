import type { RecordedEvent } from '@interlock/event-store';
import type { ReadDiskEvent } from '@interlock/lab/judge/events/disk';
import { readEvent } from '@interlock/lab/judge/events/recorded';
import { beginningOf, isEndOfCopy } from '@interlock/lab/judge/model/copies';
import type { SeededRandom, VirtualClock } from '@interlock/runtime';

/**
 * How long the storage takes for copies. Volumes are small here, so a copy would end before anything could happen to it; a real
 * one takes minutes. While copies are slow, each step of some copies takes long. So they meet losses, crashes, cuts and deletions
 * of their source or target. Each step of a move takes a moment at any time, so that its guest writes meanwhile.
 */
export interface CopyPace {
  /** Call it with each event that the disk service stores. */
  apply(event: RecordedEvent): void;
  /** The delay of a step on the volume, or undefined. */
  step(volumeId: string): Promise<void> | undefined;
  /** Makes some of the copies slow that start from now on. */
  dawdle(): void;
  /** Makes all copies fast, including those in progress. This is the initial state. */
  hurry(): void;
}

/** Share of slow copies. */
const slowCopies = 0.8;
/** Longest step of a slow copy, in milliseconds: shorter than a lease, or well beyond it; and the least part of it that a step takes. */
const stepMsMin = 4_000;
const stepMsMax = 26_000;
const leastOfStep = 0.25;
/** Longest step of a move, in milliseconds: a few of them fit into the pause of a guest. */
const moveStepMs = 300;

export const createCopyPace = (clock: Pick<VirtualClock, 'alarm'>, random: SeededRandom): CopyPace => {
  let isHurried = true;
  /** The longest step of each slow copy and of each move in progress, by its volume; and the volume, by stream. */
  const steps = new Map<string, number>();
  const volumes = new Map<string, string>();
  const waiting = new Set<() => void>();

  const begins = (stream: string, volumeId: string, longestMs: number): void => {
    steps.set(volumeId, longestMs);
    volumes.set(stream, volumeId);
  };

  return {
    apply(recorded) {
      const event = readEvent<ReadDiskEvent>(recorded);
      const begun = isHurried ? undefined : beginningOf(recorded);
      if (event.type === 'VolumeMoving') begins(recorded.stream, event.volumeId, moveStepMs);
      else if (begun && random.chance(slowCopies)) {
        begins(recorded.stream, begun.volumeId, stepMsMin + random.fraction() * (stepMsMax - stepMsMin));
      } else if (isEndOfCopy(recorded) || event.type === 'VolumeMoved' || event.type === 'VolumeMoveFailed') {
        // From here on it is a disk like any other.
        steps.delete(volumes.get(recorded.stream) ?? '');
        volumes.delete(recorded.stream);
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
