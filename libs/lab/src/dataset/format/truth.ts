import type { JsonObject } from '@interlock/event-store';
import type { OtlpSpan } from './otlp.ts';

/** Kind of a cause, as the service stored it. */
export type CauseKind = 'message' | 'call' | 'step' | 'answer' | 'timer';

/** A line of `truth/events.jsonl`: an event as its service stored it, with the part of its data that its causes follow from. */
export interface TruthEvent {
  readonly service: string;
  /** Position in the feed of the service. */
  readonly position: number;
  readonly id: string;
  readonly stream: string;
  readonly type: string;
  readonly timeUnixNano: string;
  /** Events that caused this one; empty for a root. */
  readonly causes: readonly { readonly id: string; readonly kind: CauseKind }[];
  readonly correlationId: string;
  /** `principals/<id>`, or `system:<part>`. */
  readonly caller: string;
  /** Names, numbers and dates that its causes follow from (`comparedData`); never a secret. */
  readonly data: JsonObject;
  /** The span that stored it; empty if it was not traced. */
  readonly traceId: string;
  readonly spanId: string;
  /** `setup`: before the timeline started. Edges of such events are not scored. */
  readonly phase: 'setup' | 'run';
}

/** A line of `truth/edges.jsonl`: one event caused another. */
export interface TruthEdge {
  readonly from: string;
  readonly to: string;
  readonly kind: CauseKind;
  readonly crossService: boolean;
  /**
   * How the recorded spans carry it: `parent`: the span that stored `to` is below the one that stored `from`, or below the parent of
   * that one; `link`: links are needed to get there; `none`: no path exists.
   */
  readonly carriedBy: 'parent' | 'link' | 'none';
}

/** A line of `truth/faults.jsonl`: a step of the timeline. Times are Unix nanoseconds; absent if it did not happen. */
export interface TruthFault {
  readonly name: string;
  readonly action: string;
  readonly targets: readonly string[];
  /** Name of the step that it undoes. */
  readonly undoes?: string;
  readonly plannedUnixNano: string;
  readonly injectedUnixNano: string;
  readonly effectUnixNano?: string;
  readonly endUnixNano?: string;
  /** The trace of the request that injected it. */
  readonly traceId?: string;
  /** Key versions that it took away. */
  readonly keyVersions?: readonly string[];
  /** The event with which it took effect; absent for a fault that no service stores. */
  readonly rootEvent?: string;
  /** The first event in another service that follows from the root event. */
  readonly firstEffect?: string;
}

/** A line of `truth/corruption.jsonl`: the change of a span, with its original values. */
export type Corruption =
  | { readonly kind: 'drop'; readonly service: string; readonly original: OtlpSpan }
  | {
      readonly kind: 'late' | 'skew';
      readonly service: string;
      readonly traceId: string;
      readonly spanId: string;
      readonly shiftNano: string;
      readonly original: { readonly startTimeUnixNano: string; readonly endTimeUnixNano: string };
    };

/** A line of `truth/exports.jsonl`: the spans of one process, as they were counted while the run was recorded. */
export interface TruthExport {
  readonly service: string;
  /** `service.instance.id`: each start of a process has its own. */
  readonly instance: string;
  /** Spans that the recorder received. */
  readonly received: number;
  /** As the exporter itself counted last (`otel.sdk.exporter.span.exported`); absent if it never exported its count. */
  readonly exported?: number;
  /** Spans of exports that failed, with their repetitions. */
  readonly failed?: number;
  /** Spans that found the queue full. */
  readonly dropped?: number;
}

/** A line of `truth/io.jsonl`: an operation of a guest. */
export interface TruthIo {
  readonly machine: string;
  readonly disk: string;
  readonly op: string;
  readonly seq: number;
  readonly invokedUnixNano: string;
  readonly completedUnixNano: string;
  readonly ok: boolean;
  readonly reason: string;
}

/** Milliseconds since the epoch as nanoseconds. */
export const nanosOf = (ms: number): string => String(BigInt(Math.round(ms * 1_000)) * 1_000n);

/** Nanoseconds since the epoch as milliseconds. */
export const msOf = (nanos: string): number => Number(BigInt(nanos) / 1_000n) / 1_000;
