/**
 * `OTEL_METRICS_EXPORTER` for the services of a local cloud. The receiver of the launcher keeps spans alone, so metrics go over
 * OTLP only where an address for them is given; the other exporters are the caller's choice.
 */
export const metricsExporterOf = ({
  OTEL_METRICS_EXPORTER = '',
  OTEL_EXPORTER_OTLP_METRICS_ENDPOINT = '',
}: Readonly<Record<string, string | undefined>>): string => {
  if (OTEL_EXPORTER_OTLP_METRICS_ENDPOINT !== '') return OTEL_METRICS_EXPORTER || 'otlp';
  const others = OTEL_METRICS_EXPORTER.split(',').filter((name) => !/^\s*(otlp)?\s*$/i.test(name));
  return others.join(',') || 'none';
};
