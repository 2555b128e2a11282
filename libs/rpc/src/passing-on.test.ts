import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CauseTracker } from '@interlock/event-store';
import { type Call, runAsCall } from './call.ts';
import { passingOn } from './passing-on.ts';
import { type Echo, type EchoOptions, transports } from './test-echo.ts';

for (const [name, start] of Object.entries(transports)) {
  const started = async (options: EchoOptions, close: (() => Promise<void>)[]): Promise<Echo> => {
    const echo = await start(options);
    close.unshift(echo.close);
    return echo;
  };

  test(`${name}: a call that is passed on keeps its caller, and its caller learns the events`, async () => {
    const close: (() => Promise<void>)[] = [];
    try {
      let seen: Pick<Call, 'caller' | 'cause' | 'token'> | undefined;
      let ofFront: readonly unknown[] | undefined;
      const behind = await started(
        {
          handlers: {
            echo: async (request, call) => {
              seen = call;
              call.cause.tracker?.stored('disk-d', 3);
              return { text: `${request.text} from behind` };
            },
          },
        },
        close,
      );
      const front = await started(
        {
          handlers: {
            // In two parts: the second has the cause of the call, too, and not the events of the first.
            echo: async (request, call) => {
              await behind.client.echo(request, passingOn(call, call.signal));
              const answer = await behind.client.echo(request, passingOn(call, call.signal));
              ofFront = call.cause.tracker?.causesOf(undefined, []);
              return answer;
            },
          },
        },
        close,
      );
      const credentials = { token: async () => 'workload:compute', refused: () => undefined };
      const tracker = new CauseTracker();
      const cause = { correlationId: 'c7', causes: [{ id: 'vm-v@2', kind: 'call' }], caller: '', tracker } as const;
      const answer = await runAsCall(undefined, () => front.connect({ credentials }).echo({ text: 'word' }, { cause }));
      assert.equal(answer.text, 'word from behind');
      assert.deepEqual(
        [seen?.caller.name, seen?.token, seen?.cause.correlationId, seen?.cause.causes],
        ['principals/workload:compute', 'workload:compute', 'c7', [{ id: 'vm-v@2', kind: 'call' }]],
      );
      assert.deepEqual(ofFront, []);
      assert.deepEqual(tracker.causesOf(undefined, []), [{ id: 'disk-d@3', kind: 'answer' }]);
    } finally {
      for (const end of close) await end();
    }
  });
}
