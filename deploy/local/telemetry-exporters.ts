/** Signals of OpenTelemetry. */
export const signals = ['traces', 'metrics', 'logs'] as const;

/** One of `signals`. */
export type Signal = (typeof signals)[number];

type Env = Readonly<Record<string, string | undefined>>;

/** The address to which the caller's OpenTelemetry variables send a signal, or undefined. */
export const targetOf = (signal: Signal, env: Env): string | undefined => {
  const general = env.OTEL_EXPORTER_OTLP_ENDPOINT?.replace(/\/$/, '') || undefined;
  const own = env[`OTEL_EXPORTER_OTLP_${signal.toUpperCase()}_ENDPOINT`] || undefined;
  return own ?? (general === undefined ? undefined : `${general}/v1/${signal}`);
};

/**
 * OpenTelemetry variables for the services of a local cloud. They export to the launcher only, which forwards exports to the
 * addresses in the caller's variables: so `interlock trace` has every trace. Metrics and logs go over OTLP only if anything receives
 * them. Other exporters are the caller's choice.
 * @param endpoint of the launcher @param isTaken whether the launcher receives metrics and logs itself
 */
export const exporterSettings = (env: Env, endpoint: string, isTaken: boolean): Readonly<Record<string, string>> => {
  const exporterOf = (signal: Signal): string => {
    const wanted = env[`OTEL_${signal.toUpperCase()}_EXPORTER`] ?? '';
    if (isTaken) return ['otlp', ...others(wanted)].join(',');
    if (targetOf(signal, env) !== undefined) return wanted || 'otlp';
    return others(wanted).join(',') || 'none';
  };
  return {
    OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
    // The launcher receives JSON. An empty variable counts as unset.
    OTEL_EXPORTER_OTLP_PROTOCOL: '',
    ...Object.fromEntries(
      signals.flatMap((signal) => [
        [`OTEL_EXPORTER_OTLP_${signal.toUpperCase()}_ENDPOINT`, ''],
        [`OTEL_EXPORTER_OTLP_${signal.toUpperCase()}_PROTOCOL`, ''],
      ]),
    ),
    OTEL_METRICS_EXPORTER: exporterOf('metrics'),
    OTEL_LOGS_EXPORTER: exporterOf('logs'),
  };
};

/** Exporters other than `otlp`. */
const others = (names: string): readonly string[] =>
  names.split(',').filter((name) => !/^\s*(otlp|none)?\s*$/i.test(name));
