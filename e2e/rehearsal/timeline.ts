import type { Span, SpanStore } from '@interlock/lab/spans/span-store';
import { type Clock, inSpan } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';

/** The plan of a step, before it starts. */
export interface StepPlan {
  /** The actor, as a text: `VM user`. */
  readonly who: string;
  /** What happens, as a text without a full stop. */
  readonly title: string;
  /** Rules it gathers evidence for. */
  readonly rules: readonly string[];
}

/** A call of a step, made by the rehearsal on behalf of its users. */
export interface StepCall {
  readonly service: string;
  readonly method: string;
  /** `ok`, or the reason of the refusal. */
  readonly outcome: string;
}

/** A step and its result. */
export interface Step extends StepPlan {
  /** Milliseconds since the epoch. */
  readonly startMs: number;
  readonly durationMs: number;
  readonly calls: readonly StepCall[];
  /** Why it did not end as it should; undefined when it did. */
  readonly error: string | undefined;
}

/** Runs steps and reports them. */
export interface Timeline {
  /**
   * Runs a step in its own trace and reports it at its end. Errors are reported and thrown to the caller. Steps may overlap.
   */
  step<Result>(plan: StepPlan, act: () => Promise<Result>): Promise<Result>;
}

/** @param tell receives each step when it ends */
export function createTimeline(parts: {
  readonly tracer: Tracer;
  readonly spans: SpanStore;
  readonly clock: Clock;
  readonly tell: (step: Step) => void;
}): Timeline {
  const { tracer, spans, clock, tell } = parts;
  return {
    step: async (plan, act) => {
      const startMs = clock.now();
      const since = clock.monotonicMs();
      let traceId = '';
      const end = (error: string | undefined) => {
        const calls = spans.spansOfTrace(traceId).flatMap(callOf);
        tell({ ...plan, startMs, durationMs: clock.monotonicMs() - since, calls, error });
      };
      try {
        const result = await inSpan(tracer, plan.title, {}, (span) => {
          traceId = span.spanContext().traceId;
          return act();
        });
        end(undefined);
        return result;
      } catch (error) {
        end(error instanceof Error ? error.message : String(error));
        throw error;
      }
    },
  };
}

/** A call of a service, from its span: `interlock.key_vault.v1.KeyVaultService/CreateVault`. */
function callOf(span: Span): StepCall[] {
  const [, part, method = ''] = /^interlock\.(\w+)\.v1\.\w+\/(\w+)$/.exec(span.name) ?? [];
  const service = part?.replaceAll('_', '-');
  if (span.service !== 'rehearsal' || span.kind !== 'client' || service === undefined) return [];
  const reason = span.attributes['interlock.rejection.reason'] ?? span.statusMessage;
  const outcome = span.status === 'error' ? String(reason) : 'ok';
  return [{ service, method, outcome }];
}
