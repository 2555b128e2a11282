import type { RowKind } from './rows.ts';

/** A resource that a twin does not have, or has in another form, and why. */
export interface TwinNote {
  /** `disk data1 (group rg-app)`. */
  readonly what: string;
  readonly reason: string;
}

/** A property that some resources have and the twin has not. */
export interface IgnoredNote {
  /** `securityProfile.encryptionAtHost`. */
  readonly property: string;
  readonly kind: RowKind;
  /** Names of the resources. */
  readonly of: readonly string[];
  readonly reason: string;
}

/** Collects resources that are not mapped, or are mapped in another form. */
export class TwinNotes {
  readonly notMapped: TwinNote[] = [];
  readonly changed: TwinNote[] = [];
  readonly #ignored = new Map<string, Omit<IgnoredNote, 'of'> & { readonly of: string[] }>();

  /** @returns undefined, for a caller that maps nothing then */
  drop(what: string, reason: string): undefined {
    this.notMapped.push({ what, reason });
    return undefined;
  }

  change(what: string, reason: string): void {
    this.changed.push({ what, reason });
  }

  ignore({ name, ...note }: Omit<IgnoredNote, 'of'> & { readonly name: string }): void {
    const key = `${note.kind} ${note.property}`;
    const known = this.#ignored.get(key) ?? { ...note, of: [] };
    known.of.push(name);
    this.#ignored.set(key, known);
  }

  /** One note for each property of a kind. */
  get ignored(): readonly IgnoredNote[] {
    return [...this.#ignored.values()];
  }
}

/** Region as Azure compares it: `West Europe` is `westeurope`. */
export const regionOf = (text: string): string => text.toLowerCase().replaceAll(' ', '');
