import type { Span } from '@interlock/lab/spans/span-store';
import { keptSpans } from '../commands/kept-spans.ts';
import { limiterOf } from '../request/limiter.ts';
import type { Answer } from './door.ts';

/** Where spans are. */
export interface TraceSource {
  /** The launcher's folder; undefined if the cloud is not local. */
  readonly data: string | undefined;
}

/** Spans of a trace that are sent; the waterfall shows fewer. */
const SPANS_MAX = 2_000;

/** The files of the spans have up to 128 MiB: one reads them at a time. */
const limited = limiterOf(1);

/** The spans of a trace that a local cloud kept, as JSON; none if it kept none. */
export const traceAnswer = (traceId: string, { data }: TraceSource): Promise<Answer> =>
  limited(async () => {
    const found: Span[] = [];
    for await (const spans of keptSpans(data, traceId)) {
      found.push(...spans.filter((span) => span.traceId === traceId));
      if (found.length >= SPANS_MAX) break;
    }
    return { type: 'application/json', body: JSON.stringify(found.slice(0, SPANS_MAX)) };
  });
