/** A resource that a twin does not have, or has in another form, and why. */
export interface TwinNote {
  /** `disk data1 (group rg-app)`. */
  readonly what: string;
  readonly reason: string;
}

/** Collects resources that are not mapped, or are mapped in another form. */
export class TwinNotes {
  readonly notMapped: TwinNote[] = [];
  readonly changed: TwinNote[] = [];

  /** @returns undefined, for a caller that maps nothing then */
  drop(what: string, reason: string): undefined {
    this.notMapped.push({ what, reason });
    return undefined;
  }

  change(what: string, reason: string): void {
    this.changed.push({ what, reason });
  }
}

/** Region as Azure compares it: `West Europe` is `westeurope`. */
export const regionOf = (text: string): string => text.toLowerCase().replaceAll(' ', '');
