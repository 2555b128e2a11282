import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import * as decider from './decider.ts';
import type { VmHostEvent } from './events.ts';

const at = 1_700_000_000_000;
const name = 'vmHosts/vm-host-0';
const { initial, evolve } = decider.vmHostStreams;
type Command = (host: decider.FleetVmHost) => readonly VmHostEvent[];
const apply = (host: decider.FleetVmHost, event: VmHostEvent): decider.FleetVmHost => evolve(host, event, 1);
const after = (...commands: readonly Command[]): decider.FleetVmHost =>
  commands.reduce((host: decider.FleetVmHost, command) => command(host).reduce(apply, host), initial);
const commands = {
  register: decider.register(at),
  cordon: decider.cordon(at, name),
  drain: decider.drain(at, name),
  noteDrained: decider.noteDrained(at),
  resume: decider.resume(at, name),
  declareLost: decider.declareLost(at, name, 'principals/p'),
  remove: decider.remove(at, name),
};
const { register, cordon, drain, noteDrained, declareLost } = commands;

const outcomeOf = (before: readonly Command[], command: Command): string => {
  try {
    return after(...before, command).status;
  } catch (error) {
    return String((error as { reason?: string }).reason);
  }
};

/** What each command leads to in a state, in the order of `commands`: the next state, or the reason of a refusal. */
const outcomesIn = (...before: readonly Command[]): readonly string[] =>
  Object.values(commands).map((command) => outcomeOf(before, command));

test('each command leads from each state of a VM host to the next, or is refused with a reason', () => {
  const [missing, lost, used] = ['VM_HOST_NOT_FOUND', 'VM_HOST_LOST', 'VM_HOST_IN_USE'];
  assert.deepEqual(outcomesIn(), ['open', missing, missing, 'absent', missing, missing, 'absent']);
  assert.deepEqual(outcomesIn(register), ['open', 'cordoned', 'draining', 'open', 'open', 'lost', used]);
  assert.deepEqual(outcomesIn(register, cordon), [
    ...['cordoned', 'cordoned', 'draining', 'cordoned', 'open', 'lost', used],
  ]);
  assert.deepEqual(outcomesIn(register, drain), [
    ...['draining', 'cordoned', 'draining', 'drained', 'open', 'lost', used],
  ]);
  assert.deepEqual(outcomesIn(register, drain, noteDrained), [
    ...['drained', 'drained', 'drained', 'drained', 'open', 'lost', 'absent'],
  ]);
  assert.deepEqual(outcomesIn(register, declareLost), ['open', lost, lost, 'lost', lost, 'lost', 'absent']);
});

test('a repeated command has no effect, whatever came before', () => {
  const anyCommand = fc.constantFrom(...Object.values(commands));
  fc.assert(
    fc.property(fc.array(anyCommand, { maxLength: 8 }), anyCommand, (before, command) => {
      let host: decider.FleetVmHost = initial;
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
    }),
  );
});
