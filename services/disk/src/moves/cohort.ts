import type { Clock } from '@interlock/runtime';

/** Longest wait of one at a step, in ms: several times what the headers of those it keeps step with take where nothing holds them up. */
const patienceMs = 50;

/** Waits until the others are as far. */
export type Step = () => Promise<void>;

/**
 * Several who do the same thing beside each other and keep step: what they ask for after a step they ask for in one turn of
 * the event loop, so that it travels in one message and is stored by one commit. Each of them alone would take as long, and
 * a message, a commit and a fact told for each few of them cost more than what they carry.
 */
export interface Cohort {
  /** Runs the work of one. From this call until its end the others wait for it at their steps. */
  member<Result>(work: (step: Step) => Promise<Result>): Promise<Result>;
}

/** Opens an empty one. Whoever is alone waits for nobody, and one that is held up holds up the others for no longer than their patience. */
export const openCohort = (clock: Pick<Clock, 'alarm'>): Cohort => {
  const waiting: (() => void)[] = [];
  let membersCount = 0;
  let patience: { cancel(): void } | undefined;

  const goOn = (): void => {
    patience?.cancel();
    patience = undefined;
    for (const resolve of waiting.splice(0)) resolve();
  };
  const goOnTogether = (): void => {
    if (waiting.length > 0 && waiting.length >= membersCount) goOn();
  };
  const step: Step = () =>
    new Promise((resolve) => {
      waiting.push(resolve);
      patience ??= clock.alarm(patienceMs, goOn);
      // A microtask later: those of one turn join one after the other.
      queueMicrotask(goOnTogether);
    });

  return {
    async member(work) {
      membersCount += 1;
      try {
        return await work(step);
      } finally {
        membersCount -= 1;
        goOnTogether();
      }
    },
  };
};
