import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Experiment } from '../experiment.ts';
import { parseExpression } from '../expressions/parse.ts';
import type { Observed } from '../target.ts';
import { recoverSteps } from './recover.ts';
import { type JournalLine, outstandingIn } from './step-journal.ts';
import { experimentOf, giveBack, runOnTestLab, step } from './test-lab.ts';

/** A control group, and the condition that none of its I/O fails. */
const control = (): Partial<Experiment> => {
  const text = 'control.failed > 0';
  const parsed = parseExpression(text);
  if (!('expression' in parsed)) return assert.fail(text);
  const group = { name: 'control', machines: 1, disks: [], key: '' };
  return {
    estate: { kind: 'planned', groups: [group] },
    abort: [{ line: 9, text, expression: parsed.expression }],
  };
};

/** Observation with a failed operation of the control group. */
const failedControl = (atMs: number): Observed => ({
  machines: [{ name: 'c', group: 'control', disks: [], power: [], starts: [] }],
  io: [
    {
      machine: 'c',
      disk: 'd',
      op: 'read',
      seq: 1,
      invokedMs: atMs,
      completedMs: atMs,
      invokedMonotonicMs: atMs,
      completedMonotonicMs: atMs,
      ok: false,
      reason: 'UNAVAILABLE',
    },
  ],
  sightings: [],
  guarantees: [],
});

test('steps are planned before the timeline; each intent is stored before its action; undos come at their time', async () => {
  const { calls, record, taken } = await runOnTestLab(
    experimentOf([
      step('bus', 0, { forMs: 3_000 }),
      step('loss', 200, { action: 'disable-key' }),
      giveBack('loss', 1_000, true),
    ]),
  );
  assert.deepEqual(calls, [
    '0 plan bus',
    '0 plan loss',
    '0 intent bus',
    '0 carryOut bus',
    '0 done bus',
    '200 intent loss',
    '200 carryOut loss',
    '200 done loss',
    '1000 undo loss and start',
    '1000 undone loss',
    '3000 undo bus',
    '3000 undone bus',
    '3000 compareContent',
    '3000 close',
  ]);
  assert.deepEqual([...taken], []);
  assert.deepEqual(record.run.problems, []);
  assert.deepEqual(
    record.steps.map(({ name, action, undoes, plannedMs, invokedMs }) => [name, action, undoes, plannedMs, invokedMs]),
    [
      ['bus', 'kill', undefined, 0, 0],
      ['loss', 'disable-key', undefined, 200, 200],
      ['give back loss', 'give-back', 'loss', 1_000, 1_000],
      ['undo bus', 'undo', 'bus', 3_000, 3_000],
    ],
  );
});

test('a slow action delays only its own undo, not the next step or the undo of another', async () => {
  const { record } = await runOnTestLab(
    experimentOf([step('slow', 0, { forMs: 1_000 }), step('next', 100, { forMs: 500 })]),
    {
      carryOut: async ({ name }, clock) => (name === 'slow' ? clock.sleep(4_000) : undefined),
    },
  );
  assert.deepEqual(
    record.steps.map(({ name, invokedMs }) => [name, invokedMs]),
    [
      ['slow', 0],
      ['next', 100],
      ['undo next', 600],
      ['undo slow', 4_000],
    ],
  );
  assert.deepEqual(record.run.problems, []);
});

test('an action waits for an earlier undo of the same action on the same key, and for no other', async () => {
  const disable = { action: 'disable-key', targets: ['a'] } as const;
  const { record } = await runOnTestLab(
    experimentOf([
      step('first', 0, { ...disable, forMs: 200 }),
      step('other key', 400, { ...disable, targets: ['b'] }),
      step('other action', 400, { ...disable, action: 'delete-key' }),
      step('loss', 400, disable),
      giveBack('loss', 2_000),
    ]),
    { carryOut: async ({ name }, clock) => (name === 'first' ? clock.sleep(800) : undefined) },
  );
  assert.deepEqual(record.steps.map(({ name, invokedMs }) => [name, invokedMs]).slice(0, 5), [
    ['first', 0],
    ['other key', 400],
    ['other action', 400],
    ['undo first', 800],
    ['loss', 800],
  ]);
  assert.deepEqual(record.run.problems, []);
});

test('a restart and a purge are not undone', async () => {
  const { calls, lines } = await runOnTestLab(
    experimentOf([step('again', 0, { action: 'restart' }), step('gone', 10, { action: 'purge-key' })]),
  );
  assert.ok(!calls.some((call) => / undo /.test(call)));
  assert.deepEqual(outstandingIn(lines), []);
});

test('a step that is invoked more than 500 ms late is reported as a problem', async () => {
  for (const [lateMs, count] of [
    [500, 0],
    [501, 1],
  ] as const) {
    const { record } = await runOnTestLab(
      experimentOf([step('one', 100, { forMs: 10 }), step('two', 1_000, { forMs: 2_000 })]),
      {
        // Suspends the machine of the runner: the wall clock advances.
        carryOut: async ({ name }, clock) => {
          if (name === 'one') clock.suspend(lateMs);
        },
      },
    );
    const late = record.run.problems.filter((problem) => problem.startsWith('two was invoked'));
    assert.equal(late.length, count, record.run.problems.join('; '));
  }
});

test('a failing action is reported as a problem and undone, because it may have taken effect', async () => {
  const { record, taken, lines } = await runOnTestLab(experimentOf([step('loss', 0), giveBack('loss', 100)]), {
    carryOut: async () => Promise.reject(new Error('the vault is gone')),
  });
  assert.deepEqual(record.run.problems, ['loss failed: the vault is gone']);
  assert.equal(record.steps[0]?.error, 'the vault is gone');
  assert.deepEqual([...taken], []);
  assert.deepEqual(outstandingIn(lines), []);
});

test('a failing undo is reported, other steps are undone, and the journal keeps the outstanding one', async () => {
  const { record, taken, lines } = await runOnTestLab(
    experimentOf([step('one', 0), step('two', 0), step('three', 0)]),
    {
      undo: async ({ step: name }) => (name === 'two' ? Promise.reject(new Error('refused')) : undefined),
    },
  );
  assert.deepEqual(record.run.problems, ['undo two failed: refused']);
  assert.deepEqual([...taken], ['two']);
  assert.deepEqual(
    outstandingIn(lines).map(({ step: name }) => name),
    ['two'],
  );
});

test('steps that the file never gives back are undone after the time that its proofs allow, the last one first', async () => {
  const { calls } = await runOnTestLab(
    experimentOf([step('one', 0), step('two', 10)], {
      proof: [{ line: 1, of: 'one', see: 'unwrap-refused', withinMs: 5_000 }],
    }),
  );
  assert.deepEqual(
    calls.filter((call) => / undo /.test(call)),
    ['5010 undo two', '5010 undo one'],
  );
});

test('faults of the cloud are undone before keys are given back, and what users did with keys after that', async () => {
  const { calls } = await runOnTestLab(
    experimentOf([
      step('vault', 0, { action: 'pause', targets: ['key-vault'] }),
      step('loss', 10, { action: 'disable-key', targets: ['premium'] }),
      step('rotated', 20, { action: 'rotate-key', targets: ['premium'] }),
    ]),
  );
  assert.deepEqual(
    calls.filter((call) => / undo /.test(call)),
    ['20 undo vault', '20 undo loss', '20 undo rotated'],
  );
});

test('an abort condition ends the timeline within 250 ms, and everything is undone', async () => {
  const { record, taken, calls } = await runOnTestLab(
    experimentOf([step('loss', 0), step('never', 5_000), giveBack('loss', 9_000)], control()),
    { lab: { observe: async () => failedControl(0) } },
  );
  assert.equal(record.run.abortedBy, 'control.failed > 0');
  assert.deepEqual([...taken], []);
  assert.ok((record.run.endedMs ?? 0) <= 250);
  assert.ok(!calls.some((call) => call.endsWith('carryOut never')));
});

test('abort conditions are still checked after the lab could not be read during a fault', async () => {
  let looks = 0;
  const { record } = await runOnTestLab(experimentOf([step('store', 0, { forMs: 2_000 })], control()), {
    lab: {
      observe: async () => {
        looks += 1;
        if (looks < 4) throw new Error('the store is down');
        return failedControl(100);
      },
    },
  });
  assert.equal(record.run.abortedBy, 'control.failed > 0');
});

for (const [how, observe] of [
  ['fails', () => Promise.reject(new Error('the store is down'))],
  ['does not end', () => new Promise<Observed>(() => {})],
] as const) {
  test(`a run is aborted 2 s after its conditions could last be checked: reading the lab ${how}`, async () => {
    let isAtEnd = false;
    const experiment = experimentOf([step('store', 0, { forMs: 60_000 }), step('never', 30_000)], control());
    const { record, taken, calls } = await runOnTestLab(experiment, {
      lab: {
        observe: () => (isAtEnd ? Promise.resolve({ ...failedControl(0), io: [] }) : observe()),
        compareContent: async () => {
          isAtEnd = true;
          return { disksCompared: 0, bytesCompared: 0, bytesLost: 0 };
        },
      },
    });
    assert.match(record.run.abortedBy ?? '', /^the abort conditions could not be checked for 2 s: /);
    assert.deepEqual([...taken], []);
    assert.ok(!calls.some((call) => call.endsWith('carryOut never')));
  });
}

test('an interrupted run undoes its steps and does not compare content', async () => {
  const interrupt = new AbortController();
  const { record, taken, calls } = await runOnTestLab(experimentOf([step('loss', 0), step('never', 60_000)]), {
    signal: interrupt.signal,
    carryOut: async () => interrupt.abort(),
  });
  assert.deepEqual(record.run.problems, ['the run was interrupted']);
  assert.deepEqual([...taken], []);
  assert.ok(!calls.some((call) => /never|compareContent/.test(call.replace('plan never', ''))));
  assert.match(calls.at(-1) ?? '', /close$/);
});

test('a failed set-up is reported as a problem, and no step is planned or carried out', async () => {
  const { record, calls } = await runOnTestLab(experimentOf([step('loss', 0)]), { openError: new Error('no space') });
  assert.deepEqual(record.run.problems, ['the set-up failed: no space']);
  assert.equal(record.run.startedMs, undefined);
  assert.deepEqual(calls, []);
});

test('a steady state that is not reached is reported with its line, and no step is carried out', async () => {
  const { record, calls } = await runOnTestLab(
    experimentOf([step('loss', 0)], { steady: [{ line: 7, kind: 'services-ready' }] }),
    { lab: { check: async () => 'compute lags by 3 facts' } },
  );
  assert.deepEqual(record.run.problems, ['not steady after 60 s: line 7: compute lags by 3 facts']);
  assert.deepEqual(calls, ['60000 close']);
});

test('a failed comparison is reported in addition to earlier problems, and the lab is closed', async () => {
  const { record, calls } = await runOnTestLab(experimentOf([step('loss', 0)]), {
    carryOut: async () => Promise.reject(new Error('first')),
    lab: { compareContent: async () => Promise.reject(new Error('second')) },
  });
  assert.deepEqual(record.run.problems, ['loss failed: first', 'comparing the content failed: second']);
  assert.match(calls.at(-1) ?? '', /close$/);
});

test('if the journal cannot store an intent, the step is not carried out; a later failure prevents no undo', async () => {
  const full = (): never => {
    throw new Error('ENOSPC');
  };
  const never = await runOnTestLab(experimentOf([step('loss', 0)]), { append: full });
  assert.deepEqual(never.record.run.problems, ['ENOSPC']);
  assert.ok(!never.calls.some((call) => /carryOut/.test(call)));
  const later = await runOnTestLab(experimentOf([step('loss', 0)]), {
    append: ({ kind }) => (kind === 'intent' ? undefined : full()),
  });
  assert.deepEqual([...later.taken], []);
  assert.equal(later.record.run.problems.length, 2);
});

test('recover undoes the outstanding steps of a runner that was killed at any point of its journal', async () => {
  const { lines } = await runOnTestLab(
    experimentOf([step('one', 0, { forMs: 50 }), step('two', 20), step('three', 30), giveBack('two', 100)]),
  );
  assert.ok(lines.length > 6);
  for (let killedAfter = 0; killedAfter <= lines.length; killedAfter += 1) {
    const left = lines.slice(0, killedAfter);
    const taken = new Set(left.filter(({ kind }) => kind === 'intent').map(({ step: name }) => name));
    for (const line of left) if (line.kind === 'undone') taken.delete(line.step);
    const undone: string[] = [];
    const later: JournalLine[] = [...left];
    const journal = { append: (line: JournalLine) => void later.push(line) };
    const lab = {
      clock: { now: () => 0 },
      undo: async ({ step: name }: { readonly step: string }) => {
        undone.push(name);
        taken.delete(name);
        return {};
      },
    };
    await recoverSteps(left, lab, journal);
    assert.deepEqual([...taken], [], `killed after ${killedAfter} lines`);
    const before = undone.length;
    await recoverSteps(later, lab, journal);
    assert.equal(undone.length, before, 'a second recovery does nothing');
  }
});

test('recover reports a failed undo, continues, and keeps that step for the next recovery', async () => {
  const lines: readonly JournalLine[] = ['one', 'two'].map((name) => ({
    kind: 'intent',
    step: name,
    atMs: 0,
    undo: { step: name, action: 'kill', data: {} },
  }));
  const later = [...lines];
  const lab = {
    clock: { now: () => 0 },
    undo: async ({ step: name }: { readonly step: string }) =>
      name === 'two' ? Promise.reject(new Error('unreachable')) : {},
  };
  const recovered = await recoverSteps(lines, lab, { append: (line) => void later.push(line) });
  assert.deepEqual(recovered, [
    { step: 'two', action: 'kill', error: 'unreachable' },
    { step: 'one', action: 'kill' },
  ]);
  assert.deepEqual(
    outstandingIn(later).map(({ step: name }) => name),
    ['two'],
  );
});
