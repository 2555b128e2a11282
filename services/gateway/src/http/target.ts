import { type CloudNames, vaultInHost } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';

/** Under these prefixes the router has the routes of each kind of host. No request can name them: they are put before its path. */
export const prefixOf = { gateway: '/~gateway', vault: '/~vault' } as const;

/**
 * The path that the router looks up: host kind, then the path with one slash at a time and none at its end. Clients send double
 * and trailing slashes. A URL parser is not used: it would take `//subscriptions` for a host and remove `..`.
 * @param host `Host` header
 */
export const routerTarget = (names: CloudNames, host: string, url: string): string => {
  const [path = '', ...rest] = url.split('?');
  const plain = path.replace(/\/{2,}/g, '/').replace(/\/$/, '');
  const query = rest.length === 0 ? '' : `?${rest.join('?')}`;
  const known = host.toLowerCase();
  const vault = vaultInHost(names, known);
  if (vault !== undefined) return `${prefixOf.vault}/${vault}${plain}${query}`;
  return `${isGateway(names, known) ? prefixOf.gateway : '/~unknown'}${plain}${query}`;
};

/** The gateway is also reached by address: `127.0.0.1:8443`, `[::1]:8443`. */
const isGateway = ({ gateway }: CloudNames, host: string): boolean =>
  host === new URL(gateway).host || /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(host);

/** @throws RestError 400 for a segment with a control character (`%00`): no name has one, and the store cannot hold it */
export const refuseControlCharacters = (params: Readonly<Record<string, string>>): void => {
  for (const value of Object.values(params)) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
    if (!/[\u0000-\u001f\u007f]/.test(value)) continue;
    throw new RestError(400, 'InvalidRequestContent', 'the path of the request must not contain control characters');
  }
};
