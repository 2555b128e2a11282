/** The parts of a CycloneDX document of `pnpm sbom` that are read here. */
export interface Bill {
  readonly serialNumber?: string;
  readonly metadata: { readonly timestamp?: string };
  readonly components: readonly Component[];
  readonly dependencies: readonly Dependency[];
}

/** A package. */
export interface Component {
  readonly group?: string;
  readonly name: string;
  readonly version: string;
  readonly 'bom-ref': string;
  /** `excluded`: only development needs it. */
  readonly scope?: string;
  readonly properties?: readonly unknown[];
}

/** What a package needs, by `bom-ref`. */
export interface Dependency {
  readonly ref: string;
  readonly dependsOn?: readonly string[];
}

export function stableBill(bill: Bill): Bill;
