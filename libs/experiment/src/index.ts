export * from './experiment.ts';
export type { Expression, Quantity, Term } from './expression.ts';
export type * from './record.ts';
export type * from './target.ts';
export type * from './verdict.ts';
export { exitCodes } from './verdict.ts';
