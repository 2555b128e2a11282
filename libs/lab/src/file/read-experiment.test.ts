import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import schema from '../../experiment.schema.json' with { type: 'json' };
import { problemLines, readExperiment } from './read-experiment.ts';

/** A valid file with one loss, and with replaced or added sections. Each section is one line: title 1, estate 2, timeline 3. */
const file = (change: Readonly<Record<string, string>> = {}): string =>
  Object.entries({
    title: 'a loss',
    estate:
      '{premium: {machines: 2, disks: [premium-ssd, {ultra: k2}], key: k1}, control: {machines: 1, disks: [premium-ssd], key: other}}',
    timeline: '[{at: 1s, disable-key: premium, as: loss}, {at: 9s, give-back: loss, start: true}]',
    ...change,
  })
    .filter(([, text]) => text !== '')
    .map(([name, text]) => `${name}: ${text}\n`)
    .join('');

const problemsOf = (text: string): string => {
  const read = readExperiment(text);
  assert.ok('problems' in read, `accepted: ${text}`);
  assert.deepEqual(
    read.problems,
    read.problems.toSorted((a, b) => a.line - b.line),
  );
  for (const { message, cure } of read.problems)
    assert.ok(message !== '' && !message.endsWith('.') && /[.?]$/.test(cure), cure);
  return problemLines('x.yaml', read.problems).join('\n');
};

const accepted = (text: string) => {
  const read = readExperiment(text);
  assert.ok('experiment' in read, 'problems' in read ? problemLines('x.yaml', read.problems).join('\n') : '');
  return read.experiment;
};

test('search says which actions a search may use, with ranges; its mistakes are named with their line and a cure', () => {
  const search =
    '{steps: 3, within: 5s, actions: [{pause: [disk], at: [0s, 2s], for: [100ms, 1s]}, {disable-key: any}]}';
  assert.deepEqual(accepted(file({ search })).search, {
    steps: 3,
    withinMs: 5_000,
    actions: [
      { action: 'pause', targets: ['disk'], at: { fromMs: 0, toMs: 2_000 }, for: { fromMs: 100, toMs: 1_000 } },
      { action: 'disable-key' },
    ],
  });
  assert.equal(accepted(file()).search, undefined);
  const wrong = (action: string): string => problemsOf(file({ search: `{actions: [${action}]}` }));
  assert.match(
    wrong('{disable-key: [premum]}'),
    /^x.yaml:4: "premum" is no group or key of the estate. Did you mean premium\?$/,
  );
  assert.match(wrong('{pause: [disk], for: [3s, 1s]}'), /ends before it begins. Write \[1s, 3s\]\.$/);
  assert.match(wrong('{pause: [disk], by: [1s, 3s]}'), /pause has no option by/);
  assert.match(wrong('{pause: [disk], kill: any}'), /has 2 actions: kill, pause|has 2 actions: pause, kill/);
  assert.match(wrong('{for: [1s, 2s]}'), /has no action. Add one of disable-key, /);
  assert.match(problemsOf(file({ search: '{steps: 0}' })), /search.steps must be a whole number from 1 to 20, not 0/);
});

test('once existing machines are known, the file is checked against their names, keys and I/O', () => {
  const group = (name: string, key: string) =>
    ({ name, machines: 1, disks: [{ class: 'premium-ssd', key }], key }) as const;
  const machines = { groups: [group('web', 'k1'), group('db', 'k2'), group('old', 'k2')], idle: new Set(['old']) };
  const problemsIn = (timeline: string, expect = '[web.running]') => {
    const text = file({ estate: '{existing: {group: demo}}', timeline: `[${timeline}]`, expect });
    assert.ok('experiment' in readExperiment(text), 'valid as long as the machines are not known');
    const read = readExperiment(text, machines);
    return 'problems' in read ? problemLines('x.yaml', read.problems).join('\n') : '';
  };
  assert.equal(problemsIn('{at: 0s, disable-key: web, for: 1s}'), '');
  assert.match(
    problemsIn('{at: 0s, disable-key: wbe, for: 1s}'),
    /x\.yaml:3: "wbe" is no group or key .* Write one of web, db/,
  );
  assert.match(problemsIn('{at: 0s, disable-key: k3, for: 1s}'), /"k3" is no group or key/);
  assert.match(problemsIn('{at: 0s, stop: wbe}'), /"wbe" is no group of the estate/);
  assert.match(problemsIn('{at: 0s, assign-key: web, to: k7}'), /no disk of the group is under a key named "k7"/);
  assert.match(
    problemsIn('{at: 0s, disable-key: web, for: 1s}', '[wbe.stopped <= 5s]'),
    /"wbe" is no group, step or part/,
  );
  assert.match(
    problemsIn('{at: 0s, disable-key: db, for: 1s}'),
    /"disable-key-db" concerns old, whose guests are idle/,
  );
});

test('a valid file is read: names, times, settings and keys are resolved', () => {
  const { timeline, settings, seed, estate, expect, steady, description } = accepted(
    file({
      description: 'machines stop',
      seed: '7',
      settings: '{leaseTtl: 1.5s, authzTtl: 500ms, legacyPadding: true, rotationConcurrency: 3}',
      steady: '[{services: ready}, {leases: held}, {io: premium}, {io: control, gap: 2s}]',
      timeline:
        '[{at: 1m, give-back: loss}, {at: 0s, kill: nats, for: 2s}, {at: 2500ms, kill: nats, for: 1s}, {at: 200ms, remove-role: k2, as: loss}, {at: 3s, slow: disk, by: 50ms}]',
      expect: '["premium.stopped <= loss + 5s", {control: failed == 0}]',
    }),
  );
  assert.deepEqual([seed, description], [7, 'machines stop']);
  assert.deepEqual(settings, {
    LEASE_TTL_MS: '1500',
    AUTHZ_TTL_MS: '500',
    LEGACY_PADDING: 'true',
    ROTATION_CONCURRENCY: '3',
  });
  assert.deepEqual(
    timeline.map(({ name, atMs, forMs, options }) => [name, atMs, forMs, options]),
    [
      ['kill-nats', 0, 2_000, {}],
      ['loss', 200, undefined, {}],
      ['kill-nats-2', 2_500, 1_000, {}],
      ['slow-disk', 3_000, undefined, { by: 50 }],
      ['give-back-loss', 60_000, undefined, {}],
    ],
  );
  assert.ok(estate.kind === 'planned');
  assert.deepEqual(
    estate.groups[0]?.disks.map(({ key }) => key),
    ['k1', 'k2'],
  );
  assert.deepEqual(
    expect.map(({ text, line }) => [text, line]),
    [
      ['premium.stopped <= loss + 5s', 8],
      ['control.failed == 0', 8],
    ],
  );
  assert.deepEqual(
    steady.map(({ kind }) => kind),
    ['services-ready', 'leases-held', 'io', 'io'],
  );
});

test('sections may have the names of other tools, and rollbacks end the timeline', () => {
  const { steady, timeline, abort, expect, settings } = accepted(`
title: in the words of Chaos Toolkit
configuration: {leaseTtl: 2s, authzTtl: 1s}
estate:
  premium: {machines: 1, disks: [premium-ssd], key: k1}
steady-state-hypothesis: [{services: ready}]
method:
  - {at: 3s, pause: disk, for: 20s}
  - {at: 1s, disable-key: premium, as: loss}
rollbacks:
  - {give-back: loss, start: true}
stop-conditions: [premium.failed > 100]
tolerance: [premium.stopped <= 5s]
`);
  assert.deepEqual([steady.length, abort.length, expect.length, settings.LEASE_TTL_MS], [1, 1, 1, '2000']);
  const back = timeline.at(-1);
  assert.deepEqual([back?.action, back?.atMs, back?.line], ['give-back', 23_000, 11]);
  assert.match(problemsOf(file({ method: '[]' })), /method is another word for timeline, and the file has both/);
});

test('an estate of existing machines names only their resource group', () => {
  const { estate } = accepted(file({ estate: '{existing: {group: demo}}', expect: '[web.stopped <= 5s]' }));
  assert.deepEqual(estate, { kind: 'existing', resourceGroup: 'demo', line: 2 });
  assert.match(
    problemsOf(file({ estate: '{existing: {group: demo}, web: {machines: 1, disks: [ultra], key: k1}}' })),
    /estate has existing and the group web/,
  );
});

/** Title, change of the file, expected problem with its line. */
const bad: readonly (readonly [string, Readonly<Record<string, string>>, RegExp])[] = [
  [
    'unknown section',
    { timelin: '[]' },
    /^x.yaml:4: the file has an unknown field "timelin"\. Did you mean timeline\?/,
  ],
  ['no timeline', { timeline: '' }, /timeline is missing/],
  ['empty timeline', { timeline: '[]' }, /timeline must be a list of steps, not \[\]/],
  ['no estate', { estate: '' }, /the file has no estate\. Add estate, for example estate: \{premium: /],
  [
    'unknown action',
    { timeline: '[{at: 1s, disable-ky: premium}]' },
    /^x.yaml:3: timeline\[1\] has an unknown field "disable-ky"\. Did you mean disable-key\?/,
  ],
  ['no action', { timeline: '[{at: 1s, as: x}]' }, /timeline\[1\] has no action\. Add one of disable-key,/],
  ['two actions', { timeline: '[{at: 1s, kill: nats, pause: disk}]' }, /has 2 actions: kill, pause/],
  ['start: true alone', { timeline: '[{at: 1s, start: true}]' }, /timeline\[1\] has no action/],
  ['no time', { timeline: '[{kill: nats}]' }, /timeline\[1\] has no at\. Add at, for example at: 0s\./],
  ['negative time', { timeline: '[{at: -1s, kill: nats}]' }, /timeline\[1\]\.at must be a time such as 0s.*not "-1s"/],
  ['unknown unit', { timeline: '[{at: 1 sec, kill: nats}]' }, /at must be a time such as .*not "1 sec"/],
  ['number without unit', { timeline: '[{at: 5, kill: nats}]' }, /not 5\. Write for example 5s\./],
  ['no duration', { timeline: '[{at: 0s, kill: nats, for: 0s}]' }, /for must be a duration .*not "0s"/],
  ['endless timeline', { timeline: '[{at: 99999h, kill: nats}]' }, /a timeline lasts at most 24h/],
  [
    'unknown part',
    { timeline: '[{at: 1s, kill: nat}]' },
    /kill must be a part of the cloud .*not "nat"\. Did you mean nats\?/,
  ],
  ['one part to cut', { timeline: '[{at: 1s, cut: [disk]}]' }, /cut must be a list of two parts/],
  ['a part cut from itself', { timeline: '[{at: 1s, cut: [disk, disk]}]' }, /cuts disk from itself/],
  [
    'unknown group',
    { timeline: '[{at: 1s, stop: premum}]' },
    /"premum" is no group of the estate\. Did you mean premium\?/,
  ],
  [
    'unknown key',
    { timeline: '[{at: 1s, rotate-key: k3}]' },
    /"k3" is no group or key of the estate\. Did you mean k1\?/,
  ],
  [
    'key of the platform',
    { estate: '{a: {machines: 1, disks: [premium-ssd], key: platform}}', timeline: '[{at: 1s, rotate-key: a}]' },
    /a has no key of the customer/,
  ],
  [
    'duplicate name',
    { timeline: '[{at: 1s, kill: nats, as: x}, {at: 2s, kill: disk, as: x}]' },
    /two steps have the name "x"/,
  ],
  [
    'name of a group',
    { timeline: '[{at: 1s, kill: nats, as: premium}]' },
    /the step "premium" has the name of a group or a key/,
  ],
  ['needed option', { timeline: '[{at: 1s, slow: disk}]' }, /slow needs by\. Add by: 200ms/],
  [
    'permission',
    { timeline: '[{at: 1s, remove-permission: k1, permission: list, leave: true}]' },
    /permission must be get, wrap or unwrap, not "list"/,
  ],
  ['option of another action', { timeline: '[{at: 1s, kill: disk, by: 3s}]' }, /kill has no option by/],
  [
    'give-back of an unknown step',
    { timeline: '[{at: 1s, give-back: los}]' },
    /give-back names "los", and no step has that name/,
  ],
  [
    'give-back before its step',
    { timeline: '[{at: 9s, disable-key: k1, as: loss}, {at: 1s, give-back: loss}]' },
    /give-back at 1s undoes "loss", which comes later \(9s\)/,
  ],
  ['give-back of itself', { timeline: '[{at: 1s, give-back: x, as: x}]' }, /in a circle: "x" undoes "x"/],
  [
    'cycle of give-backs',
    { timeline: '[{at: 1s, give-back: y, as: x}, {at: 1s, give-back: x, as: y}]' },
    /the give-backs refer to each other in a circle: "y" undoes "x"/,
  ],
  [
    'give-back of a give-back',
    { timeline: '[{at: 0s, kill: nats, as: l}, {at: 1s, give-back: l, as: x}, {at: 2s, give-back: x}]' },
    /undoes "x", which is a give-back itself/,
  ],
  [
    'give-back twice',
    { timeline: '[{at: 1s, disable-key: k1, as: l}, {at: 2s, give-back: l}, {at: 3s, give-back: l}]' },
    /"l" is given back twice/,
  ],
  [
    'give-back of a purge',
    { timeline: '[{at: 1s, purge-key: k1, as: l}, {at: 2s, give-back: l}]' },
    /"l" cannot be undone: purge-key is final.*leave: true/,
  ],
  [
    'give-back of a step with for',
    { timeline: '[{at: 1s, kill: nats, for: 2s, as: l}, {at: 2s, give-back: l}]' },
    /"l" is undone by its for: 2s already/,
  ],
  [
    'the same fault of the same part twice at once',
    { timeline: '[{at: 0s, slow: disk, by: 1s, for: 9s}, {at: 8s, slow: disk, by: 2s, for: 9s}]' },
    /"slow-disk-2" at 8s does what "slow-disk" \(line 3\) already does until 9s: slow disk\. Begin it when/,
  ],
  [
    'the same cut twice at once',
    { timeline: '[{at: 0s, cut: [disk, nats], as: x}, {at: 8s, cut: [nats, disk], for: 9s}]' },
    /"cut-nats-disk" at 8s does what "x" \(line 3\) already does to the end/,
  ],
  [
    'the same key throttled twice at once, by the names of a group and a key',
    { timeline: '[{at: 0s, throttle: premium, for: 9s}, {at: 1s, throttle: k1, for: 2s}]' },
    /"throttle-k1" at 1s does what "throttle-premium"/,
  ],
  [
    'for of a restart',
    { timeline: '[{at: 1s, restart: nats, for: 2s}]' },
    /restart cannot be undone, so it has no for/,
  ],
  [
    'never given back',
    { timeline: '[{at: 1s, disable-key: k1, as: loss}]' },
    /"loss" takes a key away and the timeline never gives it back\. Add \{at: 60s, give-back: loss, start: true\}, or leave: true/,
  ],
  ['purged without leave', { timeline: '[{at: 1s, purge-key: k1}]' }, /Add leave: true to the step: a purge is final/],
  [
    'give-back of a step with leave',
    { timeline: '[{at: 1s, disable-key: k1, as: l, leave: true}, {at: 2s, give-back: l}]' },
    /has leave: true and is given back/,
  ],
  [
    'control under the treated key',
    {
      estate:
        '{premium: {machines: 1, disks: [premium-ssd], key: k1}, control: {machines: 1, disks: [standard-ssd: platform, ultra: k1], key: other}}',
    },
    /^x.yaml:2: the control group control is under the key of the treatment: "loss" \(line 3\) concerns it/,
  ],
  [
    'control by role that a step concerns',
    { estate: '{premium: {machines: 1, disks: [premium-ssd], key: k1, role: control}}' },
    /the control group premium is under the key/,
  ],
  [
    'treatment by role that no step concerns',
    {
      estate:
        '{premium: {machines: 1, disks: [premium-ssd], key: k1}, other: {machines: 1, disks: [premium-ssd], key: k2, role: treatment}}',
    },
    /other has the role treatment, and no step concerns it/,
  ],
  [
    'zero machines',
    { estate: '{premium: {machines: 0, disks: [premium-ssd], key: k1}}' },
    /machines must be a whole number from 1 to 10000, not 0/,
  ],
  [
    'machines as text',
    { estate: '{premium: {machines: two, disks: [premium-ssd], key: k1}}' },
    /machines must be .*not "two"/,
  ],
  [
    'unknown class',
    { estate: '{premium: {machines: 1, disks: [premium-sd], key: k1}}' },
    /not "premium-sd"\. Did you mean premium-ssd\?/,
  ],
  ['no disks', { estate: '{premium: {machines: 1, disks: [], key: k1}}' }, /disks must be a list of disks/],
  ['ultra OS disk', { estate: '{premium: {machines: 1, disks: [ultra], key: k1}}' }, /machines cannot start from it/],
  ['no key', { estate: '{premium: {machines: 1, disks: [premium-ssd]}}' }, /premium has disks without a key/],
  ['no data disk', { timeline: '[{at: 1s, detach: control}]' }, /control has no data disk to detach/],
  [
    'reserved name',
    { estate: '{disk: {machines: 1, disks: [premium-ssd], key: premium}}' },
    /the name of the group, "disk", has another meaning/,
  ],
  [
    'ambiguous name',
    {
      estate:
        '{premium: {machines: 1, disks: [premium-ssd], key: k1}, k1: {machines: 1, disks: [premium-ssd], key: k2}}',
    },
    /k1 is a group and a key of other disks/,
  ],
  [
    'unknown setting',
    { settings: '{leaseTTL: 2s}' },
    /settings has an unknown field "leaseTTL"\. Did you mean leaseTtl\?/,
  ],
  ['setting without unit', { settings: '{leaseTtl: 2000}' }, /leaseTtl must be a duration .*not 2000/],
  [
    'setting too small',
    { settings: '{leaseTtl: 10ms, authzTtl: 1ms}' },
    /leaseTtl must be whole milliseconds, at least 1s/,
  ],
  [
    'lease and cache',
    { settings: '{leaseTtl: 2s}' },
    /leaseTtl is 2s and must be at least twice authzTtl, which is 5s\. Write authzTtl: 1s or less/,
  ],
  ['steady group', { steady: '[{io: premum}]' }, /"premum" is no group/],
  ['steady check', { steady: '[{gap: 1s}]' }, /steady\[1\] has no check\. Add one of services, leases, io/],
  [
    'proof of an unknown step',
    { proof: '[{of: los, see: io-refused, within: 2s}]' },
    /proof names "los", and no step has that name\. Did you mean loss\?/,
  ],
  [
    'proof that does not fit the action',
    { proof: '[{of: loss, see: process-gone, within: 2s}]' },
    /process-gone cannot show that disable-key took effect/,
  ],
  ['expression', { expect: '[premium.stopped <=]' }, /"premium.stopped <=", column 19: the condition ends too early/],
  [
    'a step that does not exist',
    { expect: '[premium.stopped <= los + 2s]' },
    /"los" is no group, step or part of the cloud\. Did you mean loss\?/,
  ],
  ['never measured', { abort: '[{control: stopped > loss}]' }, /control.stopped is never measured/],
  ['condition of another type', { expect: '[5]' }, /expect\[1\] must be a condition such as/],
  ['seed', { seed: '1.5' }, /seed must be a whole number/],
];

describe('bad input is reported with its line, what is wrong, and what to write instead', () => {
  for (const [title, change, expected] of bad) test(title, () => assert.match(problemsOf(file(change)), expected));

  for (const [title, text, expected] of [
    ['empty file', '', /:1: the file is empty\. Start with title/],
    ['only a comment', '# nothing\n', /:1: the file is empty/],
    ['several documents', `${file()}---\n${file()}`, /:[45]: the file has a second document/],
    ['a list', '- a\n- b\n', /the file is a list, not a map/],
    ['a text', 'hello', /the file is a text, not a map/],
    ['syntax', 'title: x\nestate: {premium: {machines: 1\n', /:[23]: the YAML is not valid: /],
    ['twice the same field', 'title: x\ntitle: y\n', /:2: the YAML is not valid: .*unique.*Write each field once/],
    ['tabs', 'title: x\nestate:\n\tpremium: 1\n', /:3: the YAML is not valid.*spaces/],
    ['tags', 'title: !!js/function x\n', /:1: the YAML is not valid.*Remove the tag/],
    ['unknown alias', 'title: *x\n', /aliases? .*cannot be resolved|Unresolved alias/],
    ['10 MB', `title: ${'x'.repeat(10_000_000)}\n`, /:1: the file has 10000008 characters\. At most 262144/],
    [
      'alias bomb',
      `a: &a [x, x, x, x, x, x, x, x, x]\n${[...'bcdefghi'].map((name, index) => `${name}: &${name} [${`*${'abcdefgh'[index]}, `.repeat(9)}]\n`).join('')}`,
      /the aliases of the file cannot be resolved: .*Write the values out/,
    ],
  ] as const)
    test(title, () => assert.match(problemsOf(text), expected));

  test('all problems are reported at once, by line', () => {
    const text = problemsOf(
      file({
        timeline: '[{at: 1s, disable-key: k9, as: loss}, {at: 2s, kill: nats, as: loss}]',
        expect: '[premium.x > 1, control.back < 5s]',
      }),
    );
    assert.equal(text.split('\n').length, 5, text);
  });

  test('any file is read as an experiment or gives problems with lines of the file', () => {
    const value = fc.constantFrom(
      '1',
      'x',
      '[]',
      '{}',
      '[1]',
      '{a: 1}',
      'null',
      '5s',
      '-1',
      '"é€"',
      '{at: 1s}',
      '[{at: 1s}]',
      '[{kill: disk, at: 1s}]',
    );
    const section = fc.constantFrom(...Object.keys(schema.properties), 'other');
    fc.assert(
      fc.property(fc.dictionary(section, value, { noNullPrototype: true }), (change) => {
        const text = file(change);
        const read = readExperiment(text);
        if ('problems' in read)
          for (const { line } of read.problems) assert.ok(line >= 1 && line <= text.split('\n').length, text);
      }),
    );
  });
});
