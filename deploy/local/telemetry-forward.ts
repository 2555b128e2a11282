import { signals, targetOf } from './telemetry-exporters.ts';

/** Passes exports on to a collector. */
export interface TelemetryForward {
  /** Queues an export as it was sent, and returns at once. */
  take(path: string, body: string): void;
  /** Exports that the collector refused, or that did not fit into the queue. */
  dropped(): number;
  /** Waits for exports in progress. */
  stop(): Promise<void>;
}

/** Longest wait for the collector, in milliseconds: the value of OTLP's specification. */
const timeoutMs = 10_000;
/** Most bytes that wait for the collector. */
const queueBytesMax = 16 * 2 ** 20;

/**
 * Forwards the exports of a local cloud's services to the addresses in the caller's OpenTelemetry variables. A collector that is
 * down, slow or responds with garbage delays no export: exports that it does not accept are dropped and counted.
 * @param say called once for each outage @param bytesMax most bytes that wait
 * @returns undefined if the variables name no address
 */
export const forwardTelemetry = (
  env: Readonly<Record<string, string | undefined>>,
  say: (line: string) => void,
  bytesMax: number = queueBytesMax,
): TelemetryForward | undefined => {
  const targets = new Map<string, string>(
    signals.flatMap((signal) => {
      const target = targetOf(signal, env);
      return target === undefined ? [] : [[`/v1/${signal}`, target] as const];
    }),
  );
  if (targets.size === 0) return undefined;
  const headers = { 'content-type': 'application/json', ...headersIn(env.OTEL_EXPORTER_OTLP_HEADERS ?? '') };
  const onTheirWay = new Set<Promise<void>>();
  let bytes = 0;
  let dropped = 0;
  let isOut = false;
  const send = async (url: string, body: string): Promise<void> => {
    try {
      const { ok, status } = await fetch(url, {
        method: 'POST',
        headers,
        body,
        signal: AbortSignal.timeout(timeoutMs),
      });
      if (!ok) throw new Error(`it answered ${status}`);
      isOut = false;
    } catch (error) {
      dropped += 1;
      if (!isOut) say(`${url} does not take telemetry, which is dropped: ${causeOf(error)}`);
      isOut = true;
    } finally {
      bytes -= body.length;
    }
  };
  return {
    take(path, body) {
      const url = targets.get(path);
      if (url === undefined) return;
      if (bytes + body.length > bytesMax) {
        dropped += 1;
        return;
      }
      bytes += body.length;
      const sending = send(url, body).finally(() => onTheirWay.delete(sending));
      onTheirWay.add(sending);
    },
    dropped: () => dropped,
    async stop() {
      await Promise.all(onTheirWay);
    },
  };
};

/** `key=value` pairs, separated by commas, percent-encoded. */
const headersIn = (text: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    text
      .split(',')
      .filter((pair) => pair.includes('='))
      .map((pair) => {
        const at = pair.indexOf('=');
        return [pair.slice(0, at).trim(), decodeURIComponent(pair.slice(at + 1).trim())];
      }),
  );

/** The message of `fetch` alone is only "fetch failed". */
const causeOf = (error: unknown): string => {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  return cause instanceof Error ? cause.message : String(cause);
};
