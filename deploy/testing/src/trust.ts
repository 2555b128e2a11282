import dns from 'node:dns';
import tls from 'node:tls';

/**
 * Lets this process use a cloud: trusts its authority, and resolves host names below `localhost` to this machine, which Node leaves to
 * the system. Other processes set `NODE_EXTRA_CA_CERTS` and a proxy (`docs/how-to/use-azure-clients.md`).
 * @param authority PEM
 */
export const trust = (authority: string): void => {
  tls.setDefaultCACertificates([...tls.getCACertificates('default'), authority]);
  const { lookup } = dns;
  const local = (host: string): string => (host.endsWith('.localhost') ? 'localhost' : host);
  dns.lookup = Object.assign(
    ((host: string, ...rest: unknown[]) => Reflect.apply(lookup, dns, [local(host), ...rest])) as typeof lookup,
    { __promisify__: lookup.__promisify__ },
  );
};
