import type { Attributes, AttributeValue, Link, SpanContext, SpanOptions, SpanStatus } from '@opentelemetry/api';
import { IdSpan } from './id-span.ts';

/** Receives the spans of a world when they end. */
export interface SpanRecorder {
  /** Virtual time, in milliseconds since the epoch. */
  nowMs(): number;
  ended(span: SimulatedSpan): void;
}

/** A finished span. Times are virtual, in milliseconds since the epoch. */
export interface SimulatedSpan {
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly name: string;
  /** As the API of OpenTelemetry numbers it. */
  readonly kind: number;
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Attributes;
  readonly links: readonly Link[];
  readonly events: readonly { readonly name: string; readonly atMs: number; readonly attributes: Attributes }[];
  readonly status: SpanStatus;
}

/** A span that is recorded. */
export class RecordedSpan extends IdSpan {
  readonly #recorder: SpanRecorder;
  readonly #facts: Omit<SimulatedSpan, 'endMs' | 'links' | 'events' | 'status' | 'attributes' | 'name'>;
  readonly #attributes: Record<string, AttributeValue | undefined>;
  readonly #links: Link[];
  readonly #events: SimulatedSpan['events'][number][] = [];
  #name: string;
  #status: SpanStatus = { code: 0 };
  #isOver = false;

  constructor(
    ids: SpanContext,
    started: SpanOptions & { readonly name: string; readonly parentSpanId: string | undefined },
    service: string,
    recorder: SpanRecorder,
  ) {
    super(ids);
    const { name, parentSpanId, kind = 0, attributes = {}, links = [] } = started;
    const { traceId, spanId } = ids;
    this.#recorder = recorder;
    this.#name = name;
    this.#facts = { service, traceId, spanId, parentSpanId, kind, startMs: recorder.nowMs() };
    this.#attributes = { ...attributes };
    this.#links = [...links];
  }

  override isRecording(): boolean {
    return !this.#isOver;
  }

  override setAttribute(key: string, value: AttributeValue): this {
    this.#attributes[key] = value;
    return this;
  }

  override setAttributes(attributes: Attributes): this {
    Object.assign(this.#attributes, attributes);
    return this;
  }

  override addEvent(name: string, attributes?: unknown): this {
    const given = typeof attributes === 'object' && attributes !== null ? (attributes as Attributes) : {};
    this.#events.push({ name, atMs: this.#recorder.nowMs(), attributes: given });
    return this;
  }

  override addLink(link: Link): this {
    this.#links.push(link);
    return this;
  }

  override addLinks(links: Link[]): this {
    this.#links.push(...links);
    return this;
  }

  override setStatus(status: SpanStatus): this {
    this.#status = status;
    return this;
  }

  override updateName(name: string): this {
    this.#name = name;
    return this;
  }

  override end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#recorder.ended({
      ...this.#facts,
      name: this.#name,
      endMs: this.#recorder.nowMs(),
      attributes: this.#attributes,
      links: this.#links,
      events: this.#events,
      status: this.#status,
    });
  }
}
