import { Work, type WorkLimits } from './work.ts';

/** A budget for a test, which never waits for a turn. */
export const testWork = (limits: Partial<WorkLimits> = {}, rest: () => Promise<void> = async () => {}): Work =>
  new Work({ refuse: (what) => new Error(what), stepsMax: Number.POSITIVE_INFINITY, ...limits }, rest);
