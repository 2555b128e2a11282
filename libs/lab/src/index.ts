export * from './causes/causes.ts';
export { abortEveryMs } from './engine/abort-watch.ts';
export { latenessMsMax } from './engine/actor.ts';
export { type Recovered, recoverSteps } from './engine/recover.ts';
export { type RunParts, runExperiment } from './engine/run-experiment.ts';
export { type JournalLine, outstandingIn, type StepJournal } from './engine/step-journal.ts';
export { estateFromAzure, type Twin } from './estate/azure/estate-from-azure.ts';
export type { TwinNote } from './estate/azure/notes.ts';
export * from './estate/estate-file.ts';
export { type EstateImpact, type EstateLoss, type EstateOutcome, impactOnEstate, skuOfClass } from './estate/impact.ts';
export { experimentTextOf } from './estate/inline-estate.ts';
export { printEstate } from './estate/print-estate.ts';
export { readEstate } from './estate/read-estate.ts';
export * from './evidence/evidence-folder.ts';
export { type RunIdentity, requirePublicKey, signManifest } from './evidence/manifest.ts';
export { type RunSummary, summaryOfRun } from './evidence/run-summary.ts';
export * from './experiment.ts';
export type { Expression, Quantity, Term } from './expression.ts';
export { checkExpression, type ExpressionProblem } from './expressions/check.ts';
export { durationText, toMilliseconds } from './expressions/duration.ts';
export { evaluate, isMet } from './expressions/evaluate.ts';
export type { Evaluation } from './expressions/operators.ts';
export { type ExpressionError, type Parsed, parseExpression } from './expressions/parse.ts';
export { printExpression } from './expressions/print.ts';
export { quantityNames } from './expressions/vocabulary.ts';
export { problemLines, type ReadExperiment, readExperiment } from './file/read-experiment.ts';
export { defaultSearch } from './file/search.ts';
export { defaultMs, settingNames, variableOfSetting } from './file/setting-names.ts';
export { shortestMs } from './file/settings.ts';
export { sectionNames } from './file/shape.ts';
export { withChanges } from './file/with-changes.ts';
export { type MatrixCase, type ReadMatrix, readMatrix } from './matrix/matrix.ts';
export { type Episode, Evidence } from './measures/evidence.ts';
export { measureNames, measuresOf, quantilesIn } from './measures/figures.ts';
export { type MachineLoss, type Moment, machineLossesOf, operationText } from './measures/machine-loss.ts';
export { quantilesOf } from './measures/quantiles.ts';
export { chaosToolkitJournal } from './outputs/chaos-toolkit-journal.ts';
export { type HistoryLine, historyLines } from './outputs/history-lines.ts';
export { junitXml } from './outputs/junit-xml.ts';
export { type ExportTool, exportExperiment, exportTools } from './outputs/packs/export-experiment.ts';
export { type ExperimentReport, reportJson, reportOf, type StepReport } from './outputs/report-json.ts';
export type { RunProgress } from './progress/run-progress.ts';
export { type RunState, runStateOf } from './progress/run-state.ts';
export { writeRunState } from './progress/state-file.ts';
export type * from './record.ts';
export type * from './search/candidate.ts';
export { choicesOf, type SearchChoice } from './search/choices.ts';
export { closenessOf } from './search/closeness.ts';
export { drawCandidate } from './search/draw.ts';
export { type Progress, type Searched, search } from './search/search.ts';
export { type Shrunk, shrink } from './search/shrink.ts';
export { Trials } from './search/trial.ts';
export { shortName } from './short-name.ts';
export type * from './target.ts';
export {
  actionNames,
  actions,
  choiceOf,
  isCallableKeyAction,
  isFaultAction,
  isHostAction,
  isKeyAction,
  isMachineAction,
  isUndoable,
  kindOf,
  takesAccess,
  targetKindOf,
} from './timeline/actions.ts';
export {
  concerns,
  endMsOf,
  giveBackOf,
  groupsOf,
  isUndone,
  keyOfTarget,
  keysOf,
  lossesOf,
  type Plan,
  roleOf,
  stepUndone,
} from './timeline/concerns.ts';
export { type FaultKind, faults } from './timeline/faults.ts';
export type { HostAction } from './timeline/hosts.ts';
export { verdictLines } from './verdict/verdict-lines.ts';
export { verdictOfRun } from './verdict/verdict-of-run.ts';
export type * from './verdict.ts';
export { exitCodes } from './verdict.ts';
