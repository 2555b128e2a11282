/** A resource id of Azure; its letter case is ignored. */
export interface AzureId {
  /** The id in lower case. */
  readonly key: string;
  readonly subscription: string;
  readonly group: string;
  readonly name: string;
}

/** Parses a resource id; undefined for any other text. */
export function azureId(text: string): AzureId | undefined {
  const found = /^\/?subscriptions\/([^/]+)\/resourcegroups\/([^/]+)\/providers\/.+\/([^/]+)$/i.exec(text.trim());
  if (found === null) return undefined;
  const [, subscription = '', group = '', name = ''] = found;
  return { key: text.trim().toLowerCase(), subscription: subscription.toLowerCase(), group: group.toLowerCase(), name };
}

/** The parts of a key URL. */
export interface KeyUrl {
  readonly vault: string;
  readonly key: string;
  /** Empty if the URL names no version. */
  readonly version: string;
  /** Whether a managed HSM holds it. */
  readonly isHsm: boolean;
}

/** Parses `https://{vault}.vault.azure.net/keys/{key}[/{version}]`; undefined for any other text. */
export function keyUrlOf(text: string): KeyUrl | undefined {
  const found = /^https:\/\/([^./]+)\.([^/]+)\/keys\/([^/]+)(?:\/([^/]*))?\/?$/i.exec(text.trim());
  if (found === null) return undefined;
  const [, vault = '', suffix = '', key = '', version = ''] = found;
  return { vault: vault.toLowerCase(), key, version, isHsm: /managedhsm/i.test(suffix) };
}

/**
 * Names in a twin, which has one resource group: the name of a resource, with the name of its group if a resource of another
 * group has the same name.
 */
export class TwinNames {
  readonly #byId = new Map<string, string>();
  readonly #taken = new Set<string>();
  /** Ids whose name was changed. */
  readonly renamed: { readonly id: AzureId; readonly name: string }[] = [];

  nameOf(id: AzureId): string {
    const known = this.#byId.get(id.key);
    if (known !== undefined) return known;
    let name = id.name;
    for (let n = 1; this.#taken.has(name.toLowerCase()); n += 1)
      name = `${id.name}-${id.group}${n === 1 ? '' : `-${n}`}`;
    if (name !== id.name) this.renamed.push({ id, name });
    this.#taken.add(name.toLowerCase());
    this.#byId.set(id.key, name);
    return name;
  }
}
