import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OpenDiskRequest, OpenDiskResponse } from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import { Rejection } from '@interlock/event-store';
import { itemRefusal } from '@interlock/rpc';
import { systemRandom, virtualClock } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { type DiskClient, openDisks, type Patience } from './disks.ts';

const patience: Patience = { signal: new AbortController().signal };
const request = (name: string) => OpenDiskRequest.fromPartial({ name });

/** A disk service that responds to each open as `open` says, and records its calls. */
const openWorld = (open: (name: string, call: number) => Promise<OpenDiskResponse> | OpenDiskResponse) => {
  const clock = virtualClock();
  const calls: string[][] = [];
  const correlations: string[] = [];
  const client = {
    async openDisks({ items = [] }) {
      const names = items.map((item) => item.open?.name ?? '');
      const call = calls.push(names);
      correlations.push(...items.map(({ origin }) => origin?.correlationId ?? ''));
      const outcomes = await Promise.all(
        names.map(async (name) => {
          try {
            return { outcome: { $case: 'opened', value: await open(name, call) } } as const;
          } catch (error) {
            return { outcome: { $case: 'refused', value: { ...itemRefusal(error) } } } as const;
          }
        }),
      );
      return { outcomes };
    },
  } as Partial<DiskClient> as DiskClient;
  const tracer = trace.getTracer('test');
  return { clock, calls, correlations, disks: openDisks({ client, clock, random: systemRandom, tracer, callsMax: 1 }) };
};

const because = (correlationId = '') => ({ correlationId, causes: [], caller: 'system:test' });

test('disks of a set that are opened at the same time share one call, each with its own cause', async () => {
  const { disks, calls, correlations } = openWorld((name) => OpenDiskResponse.fromPartial({ accessToken: name }));
  const names = ['a', 'b', 'c'];
  const answers = await Promise.all(
    names.map((name) => disks.open(request(name), 'set', because(`for ${name}`), patience)),
  );
  assert.deepEqual(
    answers.map(({ accessToken }) => accessToken),
    names,
  );
  assert.deepEqual(calls, [names]);
  assert.deepEqual(correlations, ['for a', 'for b', 'for c']);
});

test('VM-47: a refused disk fails alone, and only an open without a definite answer is retried', async () => {
  const { disks, calls, clock } = openWorld((name, call) => {
    if (name === 'lost') throw new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'no', {});
    if (name === 'busy' && call === 1) throw new Rejection('ABORTED', 'CONTENTION', 'later', {});
    return OpenDiskResponse.create();
  });
  const open = (name: string): Promise<OpenDiskResponse> => disks.open(request(name), 'set', because(), patience);
  const [lost, busy, well] = [open('lost'), open('busy'), open('well')];
  await assert.rejects(lost, { reason: 'KEY_DISABLED' });
  await well;
  await clock.drive(busy);
  assert.deepEqual(calls, [['lost', 'busy', 'well'], ['busy']]);
});

test('G3: a set whose vault is unreachable delays no disk of another set', async () => {
  const never = new Promise<OpenDiskResponse>(() => {});
  const { disks, calls } = openWorld((name) => (name === 'silent' ? never : OpenDiskResponse.create()));
  void disks.open(request('silent'), 'set 1', because(), patience);
  await disks.open(request('well'), 'set 2', because(), patience);
  assert.deepEqual(calls, [['silent'], ['well']]);
});

test('G5: a call is retried if the disk service refuses its token', async () => {
  const { disks, clock } = openWorld(() => OpenDiskResponse.create());
  let calls = 0;
  const freed = disks.insist(async () => {
    calls += 1;
    if (calls === 1) throw new Rejection('UNAUTHENTICATED', 'TOKEN_SIGNATURE_INVALID', 'not signed by a key of ours');
    return 'freed';
  }, patience);
  assert.equal(await clock.drive(freed), 'freed');
});

test('disks of a host that does not respond are opened again in a call of their own', async () => {
  let isAway = true;
  const { disks, calls, clock } = openWorld((name) => {
    const metadata = { disk_host: 'diskHosts/away' };
    if (isAway && name.startsWith('away')) throw new Rejection('UNAVAILABLE', 'DISK_HOST_UNREACHABLE', 'no', metadata);
    return OpenDiskResponse.create();
  });
  const open = (name: string): Promise<OpenDiskResponse> => disks.open(request(name), 'set', because(), patience);
  const away = [open('away 1'), open('away 2')];
  await open('well 1');
  assert.deepEqual(calls, [['away 1', 'away 2', 'well 1']]);
  await clock.until(() => calls.length > 1);
  const again = open('away 1');
  const well = open('well 2');
  await clock.drive(well);
  isAway = false;
  await clock.drive(Promise.all([...away, again]));
  for (const names of calls.slice(1))
    assert.equal(new Set(names.map((name) => name.slice(0, 4))).size, 1, String(names));
  // It responds again, so its disks are opened with the others.
  calls.length = 0;
  await Promise.all([open('away 1'), open('well 3')]);
  assert.deepEqual(calls, [['away 1', 'well 3']]);
});

test('G5: an open is retried if its disk host was replaced', async () => {
  const replaced = new Rejection('FAILED_PRECONDITION', 'DISK_HOST_REPLACED', 'another host has the volumes', {});
  const { disks, calls, clock } = openWorld((_name, call) => {
    if (call === 1) throw replaced;
    return OpenDiskResponse.fromPartial({ accessToken: 'of the next host' });
  });
  const { accessToken } = await clock.drive(disks.open(request('a'), 'set', because(), patience));
  assert.deepEqual([accessToken, calls], ['of the next host', [['a'], ['a']]]);
});
