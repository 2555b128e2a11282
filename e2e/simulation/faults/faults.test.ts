import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { createSimulatedCloud, type SimulatedCloud } from '../cloud/simulated-cloud.ts';
import { makeMachine } from '../test-machine.ts';

const worlds: SimulatedCloud[] = [];
afterEach(() => {
  for (const world of worlds.splice(0)) world.close();
});

/** Does the work in its own world. */
const inWorld = async (work: (world: SimulatedCloud) => Promise<void>): Promise<void> => {
  const world = await createSimulatedCloud({ seed: 7 });
  worlds.push(world);
  await world.run(() => work(world));
};
const vaultOf = (world: SimulatedCloud) =>
  world.as(world.people.administrator).client('key-vault', KeyVaultServiceDefinition);
const listVaults = (world: SimulatedCloud, options?: { readonly deadlineMs: number }) =>
  vaultOf(world).listVaults({ parent: 'subscriptions/s1' }, options);
const failed = (error: unknown): boolean =>
  error instanceof RpcFailure && (error.code === 'UNAVAILABLE' || error.code === 'DEADLINE_EXCEEDED');

describe('a process', () => {
  test('that is paused responds when it resumes, and not before', () =>
    inWorld(async (world) => {
      await listVaults(world);
      const sinceMs = world.clock.monotonicMs();
      world.faults.pause('key-vault', 3_000);
      await listVaults(world);
      assert.equal(Math.round(world.clock.monotonicMs() - sinceMs), 3_000);
    }));

  test('that is paused again after an early end is not resumed by the end of the first pause', () =>
    inWorld(async (world) => {
      await listVaults(world);
      const sinceMs = world.clock.monotonicMs();
      world.faults.pause('key-vault', 2_000);
      world.faults.resume('key-vault');
      world.faults.pause('key-vault', 3_000);
      await listVaults(world);
      assert.equal(Math.round(world.clock.monotonicMs() - sinceMs), 3_000);
    }));

  test('that crashes fails its calls in progress, commits nothing more, and keeps its store for the restart', () =>
    inWorld(async (world) => {
      const { keyVersion } = await makeMachine(world);
      // Every request waits a moment in the service, so that one is in progress at the crash.
      world.faults.rates.stores.delay = 1;
      world.faults.rates.stores.delayMs = 100;
      const inHand = vaultOf(world)
        .disableKeyVersion({ name: keyVersion }, { deadlineMs: 2_000 })
        .then(
          () => 'answered',
          (error: unknown) => (failed(error) ? 'no answer' : error),
        );
      await world.clock.sleep(1);
      world.faults.crash('key-vault');
      assert.equal(await inHand, 'no answer');
      const headAtDeath = await world.storeOf('key-vault').head();
      await world.clock.sleep(30_000);
      // A commit on its way to the store may still arrive. The process does nothing more.
      assert.ok((await world.storeOf('key-vault').head()) - headAtDeath <= 1);
      await assert.rejects(listVaults(world, { deadlineMs: 1_000 }), failed);
      await world.faults.healAll();
      assert.equal((await listVaults(world)).vaults.length, 1);
    }));

  test('has a second replica that continues after the first crashes', () =>
    inWorld(async (world) => {
      const { vault, keyVersion, untilState } = await makeMachine(world);
      await world.faults.restart('compute', 1);
      world.faults.crash('compute', 0);
      await vault.disableKeyVersion({ name: keyVersion });
      await untilState('STOPPED');
      assert.equal(world.guests.guests.size, 0);
    }));

  test("of the disk service waits for the earlier host's lease only if it starts on another machine", () =>
    inWorld(async (world) => {
      const { untilState } = await makeMachine(world);
      const { hostLeaseTtlMs } = world.settings;
      const startMs = async (): Promise<number> => {
        const sinceMs = world.clock.monotonicMs();
        await world.faults.restart('disk');
        return world.clock.monotonicMs() - sinceMs;
      };
      world.faults.crash('disk');
      assert.equal(await startMs(), 0);
      world.faults.loseMachine('disk');
      const waitedMs = await startMs();
      assert.ok(waitedMs >= hostLeaseTtlMs && waitedMs < 1.2 * hostLeaseTtlMs, `${waitedMs}`);
      await untilState('RUNNING');
    }));

  test('has a wrong clock: it takes valid tokens for expired', () =>
    inWorld(async (world) => {
      await listVaults(world);
      world.faults.jumpClock('key-vault', 2 * world.settings.userTokenMs);
      await assert.rejects(listVaults(world), (error: unknown) => {
        assert.ok(error instanceof Rejection);
        assert.equal(error.reason, 'TOKEN_EXPIRED');
        return true;
      });
      await world.faults.healAll();
      await listVaults(world);
    }));
});

describe('the network', () => {
  test('carries nothing between two parts that are cut off, until it is healed', () =>
    inWorld(async (world) => {
      await listVaults(world);
      world.faults.partition('outside', 'key-vault');
      await assert.rejects(listVaults(world, { deadlineMs: 2_000 }), failed);
      world.faults.heal('outside', 'key-vault');
      await listVaults(world);
    }));

  test('loses requests, which then have no effect, and responses, whose requests have an effect', () =>
    inWorld(async (world) => {
      const { keyVersion } = await makeMachine(world);
      const vault = vaultOf(world);
      const isEnabled = async () => (await vault.getKeyVersion({ name: keyVersion })).enabled;
      /** Whether the caller had a response, and whether the key is disabled afterwards. */
      const disable = async (faults: object): Promise<string> => {
        await vault.enableKeyVersion({ name: keyVersion });
        Object.assign(world.faults.rates.calls, faults);
        const isAnswered = await vault.disableKeyVersion({ name: keyVersion }, { deadlineMs: 500 }).then(
          () => true,
          (error: unknown) => !failed(error),
        );
        await world.faults.healAll();
        await world.clock.sleep(100);
        return `${isAnswered ? 'answer' : 'no answer'}, ${(await isEnabled()) ? 'no effect' : 'effect'}`;
      };
      assert.equal(await disable({ loseRequest: 1 }), 'no answer, no effect');
      // Only some responses, because the services call each other on the way.
      const outcomes = new Set<string>();
      for (let tries = 0; tries < 40; tries += 1) outcomes.add(await disable({ loseAnswer: 0.5 }));
      assert.ok(outcomes.has('no answer, effect'), [...outcomes].join('; '));
      assert.ok(!outcomes.has('answer, no effect'), [...outcomes].join('; '));
    }));

  test('delivers a call twice; the second delivery has no effect', () =>
    inWorld(async (world) => {
      const { keyVersion } = await makeMachine(world);
      let disabled = 0;
      world.onCommit(({ service, events }) => {
        if (service === 'key-vault') disabled += events.filter(({ type }) => /Disabled/.test(type)).length;
      });
      world.faults.rates.calls.duplicate = 1;
      await vaultOf(world).disableKeyVersion({ name: keyVersion });
      // Both calls were decided, and the second decided nothing.
      assert.equal(disabled, 1);
    }));

  test('makes a slow service respond late, and a throttled one refuse with the time to retry', () =>
    inWorld(async (world) => {
      await listVaults(world);
      world.faults.slow('key-vault', 700);
      const sinceMs = world.clock.monotonicMs();
      await listVaults(world);
      assert.ok(world.clock.monotonicMs() - sinceMs >= 700);
      world.faults.slow('key-vault', 0);
      world.faults.throttle('key-vault', 1_500);
      await assert.rejects(listVaults(world), (error: unknown) => {
        assert.ok(error instanceof Rejection);
        assert.deepEqual([error.code, error.reason], ['RESOURCE_EXHAUSTED', 'THROTTLED']);
        assert.equal(error.metadata.retryAfterMs, '1500');
        return true;
      });
      world.faults.throttle('key-vault', undefined);
      await listVaults(world);
    }));

  test('throttles two vaults, each until its own throttling ends', () =>
    inWorld(async (world) => {
      const get = (name: string) => vaultOf(world).getVault({ name });
      const isRefused = (name: string): Promise<boolean> =>
        get(name).then(
          () => false,
          (error: unknown) => Object(error).reason === 'THROTTLED',
        );
      world.faults.throttle('key-vault', 1_500, 'vaults/one');
      world.faults.throttle('key-vault', 1_500, 'vaults/two');
      assert.deepEqual([await isRefused('vaults/one'), await isRefused('vaults/two')], [true, true]);
      world.faults.throttle('key-vault', undefined, 'vaults/two');
      assert.deepEqual([await isRefused('vaults/one'), await isRefused('vaults/two')], [true, false]);
    }));
});

describe('store and bus', () => {
  test('a store that is cut off fails the calls of its service, and keeps its data', () =>
    inWorld(async (world) => {
      const { keyVersion } = await makeMachine(world);
      world.faults.partition('key-vault', 'store');
      await assert.rejects(vaultOf(world).disableKeyVersion({ name: keyVersion }, { deadlineMs: 2_500 }));
      await world.faults.healAll();
      const { name } = await vaultOf(world).getKeyVersion({ name: keyVersion });
      assert.equal(name, keyVersion);
    }));

  for (const [what, harm] of [
    [
      'the service is cut off from the bus',
      (world: SimulatedCloud) => world.faults.partition('disk-encryption-set', 'bus'),
    ],
    [
      'the bus loses facts that it acknowledged',
      (world: SimulatedCloud) => Object.assign(world.bus.faults, { loseAfterAck: 1 }),
    ],
  ] as const) {
    test(`G7: facts arrive although ${what}`, () =>
      inWorld(async (world) => {
        const { vault, keyVersion, untilState } = await makeMachine(world);
        harm(world);
        await vault.disableKeyVersion({ name: keyVersion });
        await untilState('STOPPED');
      }));
  }

  test('lists every kind of fault that is active, and heals all of them', () =>
    inWorld(async (world) => {
      world.faults.partition('disk', 'bus');
      world.faults.pause('disk', 60_000);
      world.faults.crash('compute');
      world.faults.driftClock('disk', 50);
      assert.deepEqual([...world.faults.kinds()].sort(), ['clock drift', 'crash', 'partition', 'pause']);
      await world.faults.healAll();
      assert.ok(world.log.some((line) => line.includes('disk and bus reach each other')));
      assert.ok(world.log.some((line) => line.includes('resumed: disk')));
      assert.ok(world.log.some((line) => line.includes('started: compute')));
    }));
});
