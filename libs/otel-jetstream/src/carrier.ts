import type { MsgHdrs } from '@nats-io/nats-core';
import type { TextMapGetter, TextMapSetter } from '@opentelemetry/api';

/** Writes trace context into NATS headers. */
export const headerSetter: TextMapSetter<MsgHdrs> = {
  set: (headers, key, value) => headers.set(key, value),
};

/** Reads trace context from NATS headers. Their names are case-sensitive, and some clients write `Traceparent`. */
export const headerGetter: TextMapGetter<MsgHdrs | undefined> = {
  keys: (headers) => headers?.keys() ?? [],
  get(headers, key) {
    if (headers === undefined) return undefined;
    if (headers.has(key)) return headers.get(key);
    const name = headers.keys().find((one) => one.toLowerCase() === key);
    return name === undefined ? undefined : headers.get(name);
  },
};
