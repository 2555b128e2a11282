/** `premium.lastGoodWrite <= loss + 3s`, `control.failed > 0`, `ultra.running`, `bytesLost == 0`. */
export type Expression =
  | {
      readonly kind: 'compare';
      readonly left: Term;
      readonly operator: '<' | '<=' | '==' | '!=' | '>=' | '>';
      readonly right: Term;
    }
  /** A state that is true or false. */
  | { readonly kind: 'holds'; readonly quantity: Quantity }
  /** Why the platform stopped the machines of a group: `premium.reason == KEY_DISABLED`. */
  | { readonly kind: 'reason'; readonly quantity: Quantity; readonly reason: string };

/** A sum. `offset`: milliseconds if a moment or a duration is measured, otherwise a number. */
export interface Term {
  readonly quantity?: Quantity;
  readonly offset: number;
  /** Whether the text gave the offset a unit of time. */
  readonly hasUnit: boolean;
}

/** A measured quantity: `of` is a group, a step, a part of the cloud, or empty for the whole run. */
export interface Quantity {
  readonly of: string;
  readonly name: string;
}
