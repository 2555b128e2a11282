import { variableOf } from '@interlock/runtime';
import { RestError } from '../errors/rest-error.ts';

/** Ids that clients use for Interlock ids, by the Interlock id: tools such as Terraform accept only UUIDs. */
export interface Aliases {
  /** The Interlock id; an id without an alias is used as it is. */
  inner(shown: string): string;
  /** The id that clients see. */
  shown(inner: string): string;
}

/**
 * Reads `<uuid>=<id>,<uuid>=<id>`.
 * @param setting the variable, for the error
 * @throws Error for a text of another form
 */
export const aliasesOf = (text: string | undefined, setting: string): Aliases => {
  const pairs = (text ?? '')
    .split(',')
    .filter((pair) => pair !== '')
    .map((pair): readonly [string, string] => {
      const [shown, inner, rest] = pair.split('=');
      if (!shown || !inner || rest !== undefined) {
        throw new Error(`${setting} must be <uuid>=<id> pairs, separated by commas (got ${JSON.stringify(pair)})`);
      }
      return [shown.toLowerCase(), inner];
    });
  const byShown = new Map(pairs);
  const byInner = new Map(pairs.map(([shown, inner]) => [inner, shown]));
  return {
    inner: (shown) => byShown.get(shown.toLowerCase()) ?? shown.toLowerCase(),
    shown: (inner) => byInner.get(inner) ?? inner,
  };
};

/** Where this gateway is, and how it names what the services have. */
export interface CloudNames {
  /** `https://host:port`, as clients reach it; also the authority and the first management audience. */
  readonly gateway: string;
  /** Host and port after the name of a vault: `vault.interlock.localhost:8443`. */
  readonly vaultSuffix: string;
  /** The same in the key URLs of key-vault. */
  readonly keyUrlSuffix: string;
  readonly tenants: Aliases;
  readonly subscriptions: Aliases;
  /** The tenant that a vault's challenge names, as clients see it. */
  readonly challengeTenant: string;
}

/** Settings that name the cloud. */
interface NameSettings {
  readonly gatewayUrl: string;
  readonly gatewayVaultSuffix: string;
  readonly vaultUriSuffix: string;
  readonly gatewayTenants: string | undefined;
  readonly gatewaySubscriptions: string | undefined;
  readonly gatewayTenant: string;
}

/** Reads the names from the settings. @throws Error that names the malformed setting */
export const cloudNamesOf = (config: NameSettings): CloudNames => {
  const tenants = aliasesOf(config.gatewayTenants, variableOf('gatewayTenants'));
  return {
    gateway: config.gatewayUrl.replace(/\/$/, '').toLowerCase(),
    vaultSuffix: config.gatewayVaultSuffix.toLowerCase(),
    keyUrlSuffix: config.vaultUriSuffix,
    tenants,
    subscriptions: aliasesOf(config.gatewaySubscriptions, variableOf('gatewaySubscriptions')),
    challengeTenant: tenants.shown(config.gatewayTenant),
  };
};

/** The name of a vault when the host is one of a vault: `kv1.vault.interlock.localhost:8443`. @param host lower case */
export const vaultInHost = ({ vaultSuffix }: Pick<CloudNames, 'vaultSuffix'>, host: string): string | undefined => {
  const [, vault] = /^([a-z0-9-]+)\.(.+)$/.exec(host) ?? [];
  return vault !== undefined && host === `${vault}.${vaultSuffix}` ? vault : undefined;
};

/** `subscriptions/<s>/resourceGroups/<g>` of a path's segments. Names of groups and resources match whatever their case (REST-02). */
export const groupName = (names: CloudNames, subscription: string, group: string): string =>
  `subscriptions/${names.subscriptions.inner(subscription)}/resourceGroups/${group.toLowerCase()}`;

/** `subscriptions/<s>[/resourceGroups/<g>]` of a path that names a subscription, and perhaps a group. */
export const scopeName = (
  names: CloudNames,
  { subscription, group }: { readonly subscription: string; readonly group?: string },
): string =>
  group === undefined
    ? `subscriptions/${names.subscriptions.inner(subscription)}`
    : groupName(names, subscription, group);

/** ARM id of a group, or of a subscription, from an Interlock name. */
export const armScope = (names: CloudNames, name: string): string => {
  const [, subscription = '', ...rest] = name.split('/');
  return `/${['subscriptions', names.subscriptions.shown(subscription), ...rest].join('/')}`;
};

/** A URL of a key as key-vault writes it, from one with the host that clients use. @throws RestError 400 */
export const innerKeyUrl = ({ keyUrlSuffix }: CloudNames, url: string): string => {
  const [, vault, path] = /^https:\/\/([a-z][a-z0-9-]*)\.[^/]+(\/keys\/[^?#]*)$/i.exec(url) ?? [];
  if (vault !== undefined && path !== undefined) return `https://${vault}.${keyUrlSuffix}${path}`.toLowerCase();
  throw new RestError(
    400,
    'InvalidParameter',
    `keyUrl must look like https://<vault>.${keyUrlSuffix}/keys/<key>/<version> (got "${url.slice(0, 300)}")`,
  );
};

/** The URL of a key version for clients. @param name `vaults/<v>/keys/<k>[/versions/<version>]` */
export const keyUrl = ({ vaultSuffix }: CloudNames, name: string): string => {
  const [, vault, , key, , version] = name.split('/');
  return `https://${vault}.${vaultSuffix}/keys/${key}${version === undefined ? '' : `/${version}`}`;
};
