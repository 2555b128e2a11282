import type { RunManifest } from './manifest.ts';
import type { LogsRequest, MetricsRequest, TracesRequest } from './otlp.ts';
import type { Corruption, TruthEdge, TruthEvent, TruthExport, TruthFault, TruthIo } from './truth.ts';

/** One recorded run: telemetry and ground truth. */
export interface RunData {
  readonly facts: Omit<RunManifest, 'schema' | 'kind' | 'files'>;
  readonly traces: readonly TracesRequest[];
  readonly metrics: readonly MetricsRequest[];
  readonly logs: readonly LogsRequest[];
  readonly events: readonly TruthEvent[];
  readonly edges: readonly TruthEdge[];
  readonly faults: readonly TruthFault[];
  readonly exports: readonly TruthExport[];
  readonly corruption: readonly Corruption[];
  readonly io: readonly TruthIo[];
  /** The experiment file as it ran. */
  readonly experiment: string;
}
