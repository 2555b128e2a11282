import type { MsgHdrs } from '@nats-io/nats-core';
import {
  type Attributes,
  type Context,
  context,
  type Link,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { headerGetter, headerSetter } from './carrier.ts';
import { MessagingAttribute, type OperationType } from './conventions.ts';
import { openMeasures } from './measures.ts';
import { type Operation, operationAttributes } from './operation-attributes.ts';
import { type JetStreamTracingOptions, type Resolved, resolved } from './options.ts';

/** Most links of one span: the default limit of the SDKs. */
export const LINKS_MAX = 128;

/** Messages that are published together, as one message of the server or several. */
export interface Published {
  readonly subject: string;
  /** `Nats-Msg-Id`. */
  readonly messageId?: string | undefined;
  /** How many; absent unless this is a batch. */
  readonly batchCount?: number | undefined;
  /** Default: the running context. */
  readonly parent?: Context;
  readonly links?: readonly Link[];
  readonly attributes?: Attributes;
}

/** Received messages. */
export interface Received {
  readonly subject: string;
  readonly consumer?: string | undefined;
  readonly stream?: string | undefined;
  readonly messageId?: string | undefined;
  readonly deliveryCount?: number | undefined;
  /** How many; absent unless this is a batch. */
  readonly batchCount?: number | undefined;
  /** Where the messages were created: `contextOf` of each. */
  readonly contexts: readonly Context[];
  /** Further links. */
  readonly links?: readonly Link[];
  readonly attributes?: Attributes;
}

/** A started operation. */
export interface OpenOperation {
  readonly span: Span;
  /** The context of the operation: what runs in it becomes a child. */
  readonly context: Context;
  /** Notes why the operation failed, before its end. */
  fail(error: unknown): void;
  /** Ends the span and records the metrics. @param error why the operation failed; absent if it succeeded */
  end(error?: unknown): void;
}

/** Spans of messaging operations: the building blocks of `instrumentJetStream`, for clients that publish or receive differently. */
export interface JetStreamTracing {
  /** Writes the running context into the headers of a message. */
  inject(headers: MsgHdrs): void;
  /** Where a message was created; the root context if its headers do not name it. */
  contextOf(headers: MsgHdrs | undefined): Context;
  /** Runs `send` in a PRODUCER span `publish <subject>`; a batch with links to the contexts of its messages in a CLIENT span. */
  publish<Result>(message: Published, send: () => Promise<Result>): Promise<Result>;
  /** Starts a CLIENT span `<operation> <subject>` for a request for messages. */
  receive(operation: string, request: Omit<Received, 'contexts'>): OpenOperation;
  /** Starts a CONSUMER span `process <subject>`. */
  startProcessing(messages: Received): OpenOperation;
  /** Runs `work` in a CONSUMER span `process <subject>`. */
  process<Result>(messages: Received, work: () => Promise<Result> | Result): Promise<Result>;
  /** Starts a CLIENT span `<operation> <subject>` for an acknowledgement. @param parent default: the running context */
  settle(operation: string, message: Received, parent?: Context): OpenOperation;
}

/** Links to the spans of contexts, each once, at most `LINKS_MAX`. */
export const linksTo = (contexts: readonly Context[]): readonly Link[] => {
  const links = new Map<string, Link>();
  for (const one of contexts) {
    const spanContext = trace.getSpanContext(one);
    if (spanContext === undefined || !trace.isSpanContextValid(spanContext)) continue;
    links.set(`${spanContext.traceId}${spanContext.spanId}`, { context: spanContext });
    if (links.size === LINKS_MAX) break;
  }
  return [...links.values()];
};

/** The first context, if all spans of the contexts belong to one trace. */
export const commonParent = ([first, ...others]: readonly Context[]): Context | undefined => {
  const traceId = first && trace.getSpanContext(first)?.traceId;
  return traceId !== undefined && others.every((other) => trace.getSpanContext(other)?.traceId === traceId)
    ? first
    : undefined;
};

const errorTypeOf = (error: unknown): string => {
  if (!(error instanceof Error)) return typeof error;
  const { code, name } = error as Error & { readonly code?: unknown };
  return name === 'Error' && typeof code === 'string' ? code : name;
};

interface Started {
  readonly kind: SpanKind;
  readonly operation: Operation;
  readonly parent: Context;
  readonly links: readonly Link[];
  readonly attributes: Attributes;
}

/** Starts operations with their spans, and measures them. */
type StartOperation = (started: Started) => OpenOperation;

const startsOf = (settings: Resolved): StartOperation => {
  const { tracer, nowMs } = settings;
  const attributesOf = operationAttributes(settings);
  const measures = openMeasures(settings);
  return ({ kind, operation, parent, links, attributes }) => {
    const { spanName, span: own, metric } = attributesOf(operation);
    const startedMs = nowMs();
    const span = tracer.startSpan(
      spanName,
      { kind, attributes: { ...own, ...attributes }, links: links.slice(0, LINKS_MAX) },
      parent,
    );
    let errorType: string | undefined;
    const fail = (error: unknown): void => {
      errorType = errorTypeOf(error);
      // The name of the error is in error.type, its text in the event.
      span.setStatus({ code: SpanStatusCode.ERROR });
      span.recordException(error instanceof Error ? error : String(error));
      span.setAttribute(MessagingAttribute.errorType, errorType);
    };
    return {
      span,
      context: trace.setSpan(parent, span),
      fail,
      end(error) {
        if (error !== undefined) fail(error);
        span.end();
        measures.ended(operation.type, metric, startedMs, operation.batchCount ?? 1, errorType);
      },
    };
  };
};

const run = async <Result>(open: OpenOperation, work: () => Promise<Result> | Result): Promise<Result> => {
  let failure: unknown;
  try {
    return await context.with(open.context, work);
  } catch (error) {
    failure = error ?? new Error('a thrown undefined');
    throw error;
  } finally {
    open.end(failure);
  }
};

/** What the start of an operation on received messages consists of. */
const startedOn = (
  name: string,
  type: OperationType,
  { subject, consumer, stream, batchCount, ...message }: Received,
  parent: Context,
): Started => ({
  kind: type === 'process' ? SpanKind.CONSUMER : SpanKind.CLIENT,
  operation: { name, type, subject, consumer, stream, batchCount },
  parent,
  links: [...linksTo(message.contexts), ...(message.links ?? [])],
  attributes: { ...factsOf({ ...message, batchCount }), ...message.attributes },
});

/** Creates the building blocks. */
export const jetStreamTracing = (options: JetStreamTracingOptions = {}): JetStreamTracing => {
  const settings = resolved(options);
  const { propagator, mode } = settings;
  const start = startsOf(settings);
  const startProcessing = (messages: Received): OpenOperation => {
    const own = mode === 'parent' ? commonParent(messages.contexts) : undefined;
    // In the mode `link` a span that runs already is the parent; a loop that receives messages has none.
    const parent = own ?? (mode === 'link' ? context.active() : ROOT_CONTEXT);
    return start(startedOn('process', 'process', messages, parent));
  };
  return {
    inject: (headers) => propagator.inject(context.active(), headers, headerSetter),
    contextOf: (headers) => propagator.extract(ROOT_CONTEXT, headers, headerGetter),
    publish: ({ subject, batchCount, messageId, parent, links = [], attributes }, send) =>
      run(
        start({
          // Links of a batch are the contexts that its messages were created in. The span is then no creation context.
          kind: batchCount === undefined || links.length === 0 ? SpanKind.PRODUCER : SpanKind.CLIENT,
          operation: { name: 'publish', type: 'send', subject, batchCount },
          parent: parent ?? context.active(),
          links,
          attributes: { ...factsOf({ messageId, batchCount }), ...attributes },
        }),
        send,
      ),
    receive: (operation, request) =>
      start(startedOn(operation, 'receive', { ...request, contexts: [] }, context.active())),
    startProcessing,
    process: (messages, work) => run(startProcessing(messages), work),
    settle: (operation, message, parent = context.active()) => start(startedOn(operation, 'settle', message, parent)),
  };
};

/** Attributes of a single message. A batch has no id. */
const factsOf = ({
  messageId,
  deliveryCount,
  batchCount,
}: Pick<Received, 'messageId' | 'deliveryCount' | 'batchCount'>): Attributes => ({
  ...(messageId === undefined || batchCount !== undefined ? {} : { [MessagingAttribute.messageId]: messageId }),
  ...(deliveryCount === undefined ? {} : { [MessagingAttribute.deliveryCount]: deliveryCount }),
});
