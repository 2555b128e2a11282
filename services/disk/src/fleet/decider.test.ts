import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import * as decider from './decider.ts';
import type { DiskHostEvent } from './events.ts';

const at = 1_700_000_000_000;
const name = 'diskHosts/disk-0';
const { initial, evolve } = decider.diskHosts;
type Command = (host: decider.FleetHost) => readonly DiskHostEvent[];
const after = (...commands: readonly Command[]): decider.FleetHost =>
  commands.reduce((host: decider.FleetHost, command) => command(host).reduce(apply, host), initial);
const apply = (host: decider.FleetHost, event: DiskHostEvent): decider.FleetHost => evolve(host, event, 1);
const commands = {
  register: decider.register(at, name, 'f', undefined),
  cordon: decider.cordon(at, name),
  drain: decider.drain(at, name),
  noteDrained: decider.noteDrained(at),
  resume: decider.resume(at, name),
  declareLost: decider.declareLost(at, name, 'f', 'principals/p'),
  remove: decider.remove(at, name),
};
const { register, cordon, drain, noteDrained, declareLost } = commands;

/** What each command leads to in a state: the next state, or the reason of a refusal. */
const outcomesIn = (...before: readonly Command[]): Record<string, string> =>
  Object.fromEntries(
    Object.entries(commands).map(([what, command]) => {
      try {
        return [what, after(...before, command).status];
      } catch (error) {
        return [what, String((error as { reason?: string }).reason)];
      }
    }),
  );

test('each command leads from each state of a disk host to the next, or is refused with a reason', () => {
  const missing = 'DISK_HOST_NOT_FOUND';
  assert.deepEqual(outcomesIn(), {
    ...{ register: 'open', cordon: missing, drain: missing, noteDrained: 'absent', resume: missing },
    ...{ declareLost: missing, remove: 'absent' },
  });
  assert.deepEqual(outcomesIn(register), {
    ...{ register: 'open', cordon: 'cordoned', drain: 'draining', noteDrained: 'open', resume: 'open' },
    ...{ declareLost: 'lost', remove: 'DISK_HOST_IN_USE' },
  });
  assert.deepEqual(outcomesIn(register, cordon), {
    ...{ register: 'cordoned', cordon: 'cordoned', drain: 'draining', noteDrained: 'cordoned', resume: 'open' },
    ...{ declareLost: 'lost', remove: 'DISK_HOST_IN_USE' },
  });
  assert.deepEqual(outcomesIn(register, drain), {
    ...{ register: 'draining', cordon: 'cordoned', drain: 'draining', noteDrained: 'drained', resume: 'open' },
    ...{ declareLost: 'lost', remove: 'DISK_HOST_IN_USE' },
  });
  assert.deepEqual(outcomesIn(register, drain, noteDrained), {
    ...{ register: 'drained', cordon: 'drained', drain: 'drained', noteDrained: 'drained', resume: 'open' },
    ...{ declareLost: 'lost', remove: 'absent' },
  });
  const lost = 'DISK_HOST_LOST';
  assert.deepEqual(outcomesIn(register, declareLost), {
    ...{ register: 'OTHER_HOST_FOLDER', cordon: lost, drain: lost, noteDrained: 'lost', resume: lost },
    ...{ declareLost: 'lost', remove: 'absent' },
  });
});

test('G5: a host keeps its folder; another folder is refused unless it replaces one that an operator named as lost', () => {
  const registered = after(register);
  assert.throws(() => decider.register(at, name, 'other', undefined)(registered), { reason: 'OTHER_HOST_FOLDER' });
  const replaced = after(register, decider.register(at, name, 'other', 'f'));
  assert.deepEqual(replaced, { status: 'open', folderId: 'other', registeredAt: at });
  assert.throws(() => decider.register(at, name, 'other', 'f')(after(register, declareLost)), {
    reason: 'OTHER_HOST_FOLDER',
  });
});

test('only the folder of the host can be declared lost', () => {
  assert.throws(() => decider.declareLost(at, name, '', 'principals/p')(after(register)), {
    reason: 'FOLDER_ID_MISMATCH',
    message: /folder_id must be f, .* \(got none\)/,
  });
});

test('a repeated command has no effect, whatever came before', () => {
  const anyCommand = fc.constantFrom(...Object.values(commands));
  fc.assert(
    fc.property(fc.array(anyCommand, { maxLength: 8 }), anyCommand, (before, command) => {
      let host: decider.FleetHost = initial;
      const run = (one: Command): number => {
        try {
          const events = one(host);
          host = events.reduce(apply, host);
          return events.length;
        } catch {
          return 0;
        }
      };
      for (const one of before) run(one);
      run(command);
      assert.equal(run(command), 0);
      assert.deepEqual(JSON.parse(JSON.stringify(host)), host);
    }),
  );
});
