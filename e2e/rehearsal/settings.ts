import { int, readConfig, text } from '@interlock/runtime';

/** How a rehearsal differs from the default one, by environment variables. */
export const { rehearsalTag: tag, rehearsalPatienceMs: patienceMs } = readConfig(process.env, {
  rehearsalTag: text(
    'Set behind the names of vault and groups: sets one rehearsal apart from another in the same cloud',
    { default: '' },
  ),
  rehearsalPatienceMs: int('The longest any single thing may take before the rehearsal gives up on it', {
    min: 1_000,
    default: 45_000,
  }),
});
