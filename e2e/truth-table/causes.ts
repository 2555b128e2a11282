import {
  type Cause,
  type CauseEffect,
  type CauseTitle,
  type CauseVariant,
  causeOf,
  causes as everyCause,
  unreachableVault,
  variantsOf,
} from '@interlock/lab/causes';

/** As of causes; `start only`: what runs continues, and nothing new can be opened. */
export type Effect = CauseEffect | 'start only';

/** An expiry under a set whose `key_expiry` is NEXT_START. */
const nextStart = 'expire-key, next start';

/** Name of a cause of the table. */
export type TableCauseName = CauseTitle | typeof nextStart | typeof unreachableVault.name;

/** A cause as the table plays it: with its choice, or under another option of the set. */
export interface TableCause extends Omit<Cause, 'name' | 'effect'> {
  readonly name: TableCauseName;
  readonly effect: Effect;
  /** What is played. */
  readonly played: Pick<CauseVariant, 'cause' | 'choice'>;
  readonly keyExpiry?: 'NEXT_START';
}

const expiry = causeOf('expire-key');

/** Every cause of a loss, with each of its choices; and an expiry that stops nothing (CMK-104). */
export const causes: readonly TableCause[] = [
  ...variantsOf(everyCause).map(({ title, ...played }) => ({ ...played.cause, name: title, played })),
  {
    ...expiry,
    name: nextStart,
    description: `${expiry.description} The set has \`key_expiry\` NEXT_START.`,
    effect: 'start only',
    keyExpiry: 'NEXT_START',
    played: { cause: expiry },
  },
  { ...unreachableVault, played: { cause: unreachableVault } },
];

/** Those causes, in their order. */
export const causesNamed = (...names: readonly TableCauseName[]): readonly TableCause[] =>
  causes.filter(({ name }) => names.includes(name));
