import type { ReturnSeen } from '../evidence/evidence.ts';
import { untilAtWork } from '../evidence/observe.ts';
import type { StepPlan } from '../timeline.ts';
import type { People, World } from '../world.ts';
import { plannedNamed, start } from './machines.ts';

/** Starts machines whose key is usable again and waits until their guests have found all that they wrote, and work again. */
export const returnToWork = async (
  world: World,
  { vmUser }: People,
  how: string,
  step: StepPlan,
  ids: readonly string[],
): Promise<ReturnSeen> => {
  const { timeline, clock } = world;
  const fromMs = clock.now();
  return timeline.step(step, async () => {
    const starts = await start(world, vmUser, ids);
    const running = starts.filter(({ outcome }) => outcome === 'running').map(({ machine }) => machine);
    const io = await untilAtWork(world, plannedNamed(running), fromMs);
    const journals = await world.journals();
    const checks = running.flatMap((id) =>
      (journals[id] ?? []).filter(({ op, invokedAt }) => op === 'verify' && invokedAt >= fromMs),
    );
    return {
      how,
      starts,
      io,
      verified: checks.filter(({ ok }) => ok).length,
      mismatched: checks.filter(({ reason }) => reason === 'CONTENT_MISMATCH').length,
    };
  });
};
