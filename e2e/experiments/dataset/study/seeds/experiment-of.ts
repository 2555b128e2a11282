import type { CauseName } from '@interlock/lab';
import { seededRandom } from '@interlock/runtime';

/** The parts that may be killed. Postgres only while no service starts: a service whose start fails ends, and no operator restarts it here. */
const parts = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute', 'nats'] as const;
const firstParts = [...parts, 'postgres'] as const;

/** Ways to lose the key of the second group. Each run has one. */
const losses = [
  'disable-key',
  'delete-key',
  'remove-role',
  'expire-key',
  'set-identity-none',
] as const satisfies readonly CauseName[];

/** Kills of a run, the time between two of them, and how long a part stays down, in milliseconds. */
const killCount = 3;
const killSpacingMs = 9_000;
const killSpreadMs = 2_500;
const downMs = 2_000;

/**
 * The experiment file of a seed: two revocations that overlap, a rotation, a stop and starts within half a minute, each at a moment
 * that the seed decides. The moments and kinds are the same with and without kills.
 */
export const experimentOf = (seed: number, withKills: boolean): string => {
  const random = seededRandom(seed);
  const within = (fromMs: number, toMs: number): string => `${fromMs + random.int(toMs - fromMs)}ms`;
  const loss = losses[seed % losses.length];
  const steps = [
    `{ at: ${within(0, 4_000)}, rotate-key: rotated }`,
    `{ at: ${within(1_000, 5_000)}, disable-key: premium, as: first-loss }`,
    `{ at: ${within(2_000, 6_000)}, ${loss}: standard, as: second-loss }`,
    `{ at: ${within(3_000, 9_000)}, stop: restarted }`,
    `{ at: ${within(14_000, 18_000)}, start: restarted }`,
    `{ at: ${within(15_000, 18_000)}, give-back: first-loss, start: true }`,
    `{ at: ${within(17_000, 21_000)}, give-back: second-loss, start: true }`,
    `{ at: ${within(21_000, 23_000)}, disable-key: rotated, as: third-loss }`,
    `{ at: ${within(26_000, 28_000)}, give-back: third-loss, start: true }`,
  ];
  const kills = Array.from({ length: killCount }, (_, n) => {
    const fromMs = 1_500 + n * killSpacingMs;
    const part = random.pick(n === 0 ? firstParts : parts);
    return `{ at: ${within(fromMs, fromMs + killSpreadMs)}, kill: ${part}, for: ${downMs}ms, as: kill-${n + 1} }`;
  });
  return [
    `title: "Tracing study, seed ${seed}${withKills ? ', with kills' : ''}"`,
    `seed: ${seed}`,
    'settings: { leaseTtl: 4s, authzTtl: 1s, sweepInterval: 1s, guestStopTimeout: 2s }',
    'estate:',
    '  premium: { machines: 2, disks: [premium-ssd], key: k1 }',
    '  standard: { machines: 1, disks: [premium-ssd: platform, standard-ssd], key: k2 }',
    '  rotated: { machines: 1, disks: [premium-ssd], key: k3 }',
    '  restarted: { machines: 1, disks: [premium-ssd], key: k4 }',
    'steady: [{ services: ready }, { leases: held }, { io: premium, gap: 2s }]',
    'timeline:',
    ...[...steps, ...(withKills ? kills : [])].map((step) => `  - ${step}`),
    'expect:',
    '  - bytesLost == 0',
    '',
  ].join('\n');
};
