export { type Degradation, degrade } from './change/degrade.ts';
export { policyOf, type SamplingPolicy, sample } from './change/sample.ts';
export { splitTraces } from './change/split-traces.ts';
export { checkDataset, datasetNotes } from './check/check.ts';
export { type ExportChoice, exportRuns } from './export/export-runs.ts';
export { exportFormats } from './export/exports.ts';
export { type LinkView, linkViews } from './export/link-view.ts';
export { collectionCitation, collectionDatasheet } from './format/documents.ts';
export {
  assertEmpty,
  DatasetError,
  readManifest,
  readRun,
  runFolders,
  writeCollection,
  writeRun,
} from './format/folder.ts';
export { labelAttributes, withoutLabels } from './format/labels.ts';
export type { CollectionManifest, Distribution, Source } from './format/manifest.ts';
export { RUN_ATTRIBUTE, runFiles } from './format/manifest.ts';
export {
  type AnyValue,
  type KeyValue,
  type LogsRequest,
  type MetricsRequest,
  type OtlpSpan,
  type ResourceSpans,
  spansIn,
  type TracesRequest,
  withSpans,
} from './format/otlp.ts';
export type { RunData } from './format/run-data.ts';
export {
  nanosOf,
  type TruthEdge,
  type TruthEvent,
  type TruthExport,
  type TruthFault,
  type TruthIo,
} from './format/truth.ts';
export { baselineNames, blindMethods, labelledMethods, type MethodName, predictionOf } from './score/baselines.ts';
export { type CriticalPath, criticalPaths, type PathStep } from './score/critical-path.ts';
export { type Agreement, meanScore, type Prediction, type Score, score } from './score/score.ts';
export { readLines, scoreTable } from './score/score-table.ts';
export { type TraceMeasures, traceMeasures } from './score/trace-measures.ts';
export { edgesOf, scoredEdges } from './truth/edges.ts';
export { faultsOf, type TimelineStep } from './truth/faults.ts';
export { graphHash } from './truth/graph-hash.ts';
export { exportsOf } from './truth/span-counts.ts';
