import type { Nats } from '../nats.ts';
import type { Postgres } from '../postgres.ts';
import {
  addressVariableOf,
  type HostName,
  isDiskHostName,
  type ProcessTarget,
  type ServiceName,
  serviceNames,
} from '../services.ts';

/**
 * The address at which a service or disk host finds another one or a server: that of a proxy, for example.
 * @param address its real host:port
 */
export type Route = (from: ProcessTarget, to: ProcessTarget | 'nats' | 'postgres', address: string) => string;

/** The settings with which a process finds the services and NATS through a route. @param service of the process */
export const routedSettings = (
  route: Route,
  { from, service }: { readonly from: ProcessTarget; readonly service: ServiceName },
  { addresses, nats }: { readonly addresses: Readonly<Record<ServiceName, string>>; readonly nats: Nats },
): Readonly<Record<string, string>> => {
  const toService = (to: ServiceName): string =>
    addresses[to]
      .split(',')
      .map((address) => route(from, to, address))
      .join(',');
  const { NATS_URL: url = '' } = nats.settingsOf(service);
  return {
    ...Object.fromEntries(serviceNames.map((to) => [addressVariableOf(to), toService(to)])),
    NATS_URL: url.replace(/(?<=:\/\/)[^/,]+/g, (address) => route(from, 'nats', address)),
  };
};

/**
 * The addresses that a host names to those who call it: a disk host to control processes and to guests, a VM host to compute.
 * @param address its real host:port
 */
export const routedHost = (route: Route, host: HostName, address: string): Readonly<Record<string, string>> =>
  isDiskHostName(host)
    ? { DISK_ADDRESS: route('disk', host, address), DATA_ADDRESS: route('compute', host, address) }
    : { VM_HOST_ADDRESS: route('compute', host, address) };

/** The database of a process: by the shortest way, unless a route leads elsewhere. */
export const databaseUrlOf = (
  postgres: Postgres,
  from: ProcessTarget,
  database: string,
  route: Route | undefined,
): string => {
  if (route === undefined) return postgres.shortUrl(database);
  const url = new URL(postgres.url(database));
  url.host = route(from, 'postgres', url.host);
  return url.href;
};

/** Settings of services in the environment of a launcher, without secrets. */
export const openSettingsIn = (
  env: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string | undefined>> =>
  Object.fromEntries(Object.entries(env).filter(([name]) => /^[A-Z_]+_(MS|SECOND|BURST|MAX)$|^GUEST_/.test(name)));
