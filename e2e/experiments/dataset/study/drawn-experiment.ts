import { type SeededRandom, seededRandom } from '@interlock/runtime';

/** Ways to take access to a key away: by its key, its vault, its role or policy, and its set's identity. */
const losses = [
  ...(['disable-key', 'delete-key', 'expire-key', 'not-yet-valid', 'remove-policy', 'remove-role'] as const),
  ...(['delete-identity', 'set-identity-none', 'delete-vault', 'switch-permission-model'] as const),
] as const;

/** Disks of a machine. A machine with an ultra disk keeps running after its key is lost. */
const disks = [
  '[premium-ssd]',
  '[standard-ssd]',
  '[standard-hdd]',
  '[premium-ssd, standard-ssd]',
  '[premium-ssd: platform, standard-ssd]',
  '[premium-ssd: platform, ultra]',
  '[premium-ssd, ultra]',
] as const;

/** Numbers of machines of a group; an estate has 1 to 40. */
const sizes = [1, 1, 1, 2, 2, 3, 4, 6, 9] as const;
const machinesMax = 40;

const parts = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute', 'nats'] as const;

interface Group {
  readonly name: string;
  readonly machines: number;
  readonly key: string;
  readonly disks: string;
}

/** Between two moments, in milliseconds. */
const within = (random: SeededRandom, fromMs: number, toMs: number): string =>
  `${fromMs + random.int(toMs - fromMs)}ms`;

const groupsOf = (random: SeededRandom): readonly Group[] => {
  const keys = Array.from({ length: 1 + random.int(4) }, (_, n) => `k${n + 1}`);
  const groups: Group[] = [];
  let left = machinesMax;
  for (let n = 0; n < 1 + random.int(6); n += 1) {
    const machines = Math.min(random.pick(sizes), left);
    // Every key has a group; further groups share one.
    const key = keys[n] ?? random.pick(keys);
    if (machines > 0) groups.push({ name: `group-${n + 1}`, machines, key, disks: random.pick(disks) });
    left -= machines;
  }
  return groups;
};

/** Losses of different keys, most of them given back. */
const lossSteps = (random: SeededRandom, groups: readonly Group[]): readonly string[] => {
  const byKey = [...new Map(groups.map((group) => [group.key, group])).values()];
  const taken = byKey.slice(0, 1 + random.int(Math.min(3, byKey.length)));
  return taken.flatMap(({ name }, n) => {
    const loss = `at: ${within(random, 500, 9_000)}, ${random.pick(losses)}: ${name}, as: loss-${n + 1}`;
    const start = random.chance(0.7) ? ', start: true' : '';
    const isGivenBack = random.chance(0.8);
    return isGivenBack
      ? [`{ ${loss} }`, `{ at: ${within(random, 20_000, 32_000)}, give-back: loss-${n + 1}${start} }`]
      : [`{ ${loss}, leave: true }`];
  });
};

/** What users do meanwhile, on any group. A refused step is part of the noise. */
const noiseSteps = (random: SeededRandom, groups: readonly Group[]): readonly string[] =>
  Array.from({ length: random.int(6) }, () => {
    const { name } = random.pick(groups);
    const at = within(random, 0, 30_000);
    const action = random.pick(['rotate-key', 'snapshot', 'stop', 'start', 'attach'] as const);
    return `{ at: ${at}, ${action}: ${name} }`;
  });

/** Faults of the cloud, each of another kind. */
const faultSteps = (random: SeededRandom): readonly string[] => {
  const at = (): string => within(random, 0, 15_000);
  const duration = (): string => within(random, 1_000, 8_000);
  const [a, b] = [random.pick(parts), random.pick(parts)];
  const all = [
    `{ at: ${at()}, pause: ${random.pick(parts)}, for: ${duration()} }`,
    `{ at: ${at()}, kill: ${random.pick(parts)}, for: ${duration()} }`,
    ...(a === b ? [] : [`{ at: ${at()}, cut: [${a}, ${b}], for: ${duration()} }`]),
  ];
  return all.filter(() => random.chance(0.3));
};

/** The experiment file of a seed: an estate, losses, faults, and what users do meanwhile. The same seed gives the same file. */
export const drawnExperiment = (seed: number): string => {
  const random = seededRandom(seed);
  const groups = groupsOf(random);
  const steps = [...lossSteps(random, groups), ...noiseSteps(random, groups), ...faultSteps(random)];
  const [first] = groups;
  return [
    `title: "Study, seed ${seed}"`,
    `seed: ${seed}`,
    `settings: { leaseTtl: ${random.pick(['2s', '4s', '10s'])}, authzTtl: 1s, sweepInterval: 1s, guestStopTimeout: 2s }`,
    'estate:',
    ...groups.map(
      ({ name, machines, key, disks: of }) => `  ${name}: { machines: ${machines}, disks: ${of}, key: ${key} }`,
    ),
    `steady: [{ services: ready }, { leases: held }, { io: ${first?.name}, gap: 2s }]`,
    'timeline:',
    ...steps.map((step) => `  - ${step}`),
    'expect:',
    '  - bytesLost == 0',
    '',
  ].join('\n');
};
