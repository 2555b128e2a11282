/** Actions of a role: patterns, in which `*` matches any characters. */
export interface ActionPatterns {
  readonly actions: readonly string[];
  /** Excluded from `actions`. */
  readonly notActions: readonly string[];
}

/** Compiled patterns: there are few, and every permission check uses some. */
const expressions = new Map<string, RegExp>();

const expressionOf = (pattern: string): RegExp => {
  const known = expressions.get(pattern);
  if (known !== undefined) return known;
  const parts = pattern.split('*').map((part) => part.replace(/[.\\/]/g, '\\$&'));
  const made = new RegExp(`^${parts.join('.*')}$`);
  expressions.set(pattern, made);
  return made;
};

const isAmong = (patterns: readonly string[], action: string): boolean =>
  patterns.some((pattern) => expressionOf(pattern).test(action));

/** Whether the patterns include an action. */
export const holdsAction = ({ actions, notActions }: ActionPatterns, action: string): boolean =>
  isAmong(actions, action) && !isAmong(notActions, action);
