import { nearest } from '@interlock/runtime/nearest';
import { UsageError } from '../problems.ts';

/** The choice that was typed. @throws UsageError naming the choices and the one that was probably meant */
export function choiceOf<Choice extends string>(text: string, choices: readonly Choice[], flag: string): Choice {
  const found = choices.find((choice) => choice === text);
  if (found !== undefined) return found;
  const near = nearest(text, choices);
  const suggestion = near === undefined ? '' : ` Did you mean ${near}?`;
  throw new UsageError(`${flag} must be one of ${choices.join(', ')}, not "${text}".${suggestion}`);
}
