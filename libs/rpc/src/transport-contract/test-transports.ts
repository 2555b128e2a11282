import assert from 'node:assert/strict';
import { after, afterEach, before, describe } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { systemRandom } from '@interlock/runtime';
import { startTelemetry, type Telemetry } from '@interlock/runtime/telemetry';
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace';
import { RpcFailure } from '../rpc-failure.ts';
import { type Echo, type EchoOptions, transports } from '../test-echo.ts';

/** A transport as the tests of the contract use it. */
export interface TestTransport {
  /** Starts the echo service with a client. It ends with the test. */
  readonly echo: (options?: EchoOptions) => Promise<Echo>;
  /** Whether messages are encoded, so that they have sizes. */
  readonly hasSizes: boolean;
  /** Spans that ended during the test. */
  readonly spans: InMemorySpanExporter;
  /** Waits until so many spans have ended. */
  readonly spanCount: (count: number) => Promise<void>;
  /** The tracer of the servers. */
  readonly tracer: () => Telemetry['tracer'];
}

/** Runs a part of the contract over every transport. Each suite has its own telemetry. */
export const overEachTransport = (subject: string, suite: (transport: TestTransport) => void): void => {
  for (const [transport, start] of Object.entries(transports)) {
    describe(`${subject} over ${transport}`, () => {
      const spans = new InMemorySpanExporter();
      let telemetry: Telemetry;
      before(() => {
        telemetry = startTelemetry({
          service: 'test',
          random: systemRandom,
          processors: [new SimpleSpanProcessor({ exporter: spans })],
        });
      });
      after(() => telemetry.shutdown());
      const running: Echo[] = [];
      const echo = async (options: EchoOptions = {}): Promise<Echo> => {
        const started = await start({ ...options, server: { tracer: telemetry.tracer, ...options.server } });
        running.push(started);
        return started;
      };
      const spanCount = async (count: number): Promise<void> => {
        while (spans.getFinishedSpans().length < count) await new Promise(setImmediate);
      };
      afterEach(async () => {
        await Promise.all(running.splice(0).map((each) => each.close()));
        spans.reset();
      });
      // A message that is not encoded has no size.
      const hasSizes = transport !== 'in process, not encoded';
      suite({ echo, hasSizes, spans, spanCount, tracer: () => telemetry.tracer });
    });
  }
};

/** All items of a stream. */
export async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

/** Whether an error is a rejection with this code, reason and metadata. */
export function rejection(code: string, reason: string, metadata: Readonly<Record<string, string>> = {}) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof Rejection, String(error));
    assert.equal(`${error.code} ${error.reason}`, `${code} ${reason}`);
    for (const [key, value] of Object.entries(metadata)) assert.equal(error.metadata[key], value);
    return true;
  };
}

/** Whether an error is a failed call with this code. */
export function failure(code: string) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof RpcFailure, String(error));
    assert.equal(error.code, code);
    return true;
  };
}
