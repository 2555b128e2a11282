/** The guarantees of design, by name. */
export type Guarantee = 'G1' | 'G2' | 'G3' | 'G4' | 'G5' | 'G6' | 'G7' | 'G8' | 'G9' | 'G10';

/** A guarantee that did not hold. */
export interface Violation {
  readonly guarantee: Guarantee;
  /** What the guarantee requires in this case. */
  readonly expected: string;
  readonly actual: string;
  /** On the clock of the judged run, in milliseconds. */
  readonly atMs: number;
}

/** Collects violations; the first one counts. */
export interface Findings {
  violate(guarantee: Guarantee, expected: string, actual: string): void;
  readonly violation: Violation | undefined;
}

/** Findings that are still collected. A property and no getter, because a getter is a function in the shape of each (see `engineFlags`). */
export type OpenFindings<F extends Findings = Findings> = Omit<F, 'violation'> & { violation: Violation | undefined };

/** Separate findings, to test whether something would be a violation. */
export const openFindings = (nowMs: () => number): Findings => {
  const findings: OpenFindings = {
    violation: undefined,
    violate(guarantee, expected, actual) {
      findings.violation ??= { guarantee, expected, actual, atMs: nowMs() };
    },
  };
  return findings;
};

/** How an operation ended, as its caller saw it. */
export type CallOutcome =
  | { readonly kind: 'ok'; readonly text: string }
  /** A service refused; `reason` is empty if the response had none. */
  | { readonly kind: 'refused'; readonly code: string; readonly reason: string }
  /** No response: the call may have taken effect, or may still. */
  | { readonly kind: 'unknown'; readonly code: string };

/** A time as logs show it: seconds with three decimals. */
export const seconds = (ms: number): string => (ms / 1_000).toFixed(3);
