import { type ChannelOptions, experimental } from '@grpc/grpc-js';

/** Targets of this scheme list the replicas of a service. */
const scheme = 'replicas';

interface Target {
  readonly path: string;
}

const addressesIn = (text: string): readonly string[] => text.split(',');

/**
 * Passes the addresses of a list to grpc-js. Each is a separate endpoint, so that a balancer skips one that does not respond.
 * All certificates must be for the host of the first address.
 */
class AddressListResolver implements experimental.Resolver {
  private readonly target: Target;
  private readonly listener: experimental.ResolverListener;
  private isReported = false;

  constructor(target: Target, listener: experimental.ResolverListener, _options: ChannelOptions) {
    this.target = target;
    this.listener = listener;
  }

  updateResolution(): void {
    if (this.isReported) return;
    this.isReported = true;
    const endpoints = addressesIn(this.target.path).map((address) => {
      const at = address.lastIndexOf(':');
      return { addresses: [{ host: address.slice(0, at), port: Number(address.slice(at + 1)) }] };
    });
    // After the constructor has returned, as grpc-js requires of a resolver.
    queueMicrotask(() => this.listener(experimental.statusOrFromValue(endpoints), {}, null, ''));
  }

  destroy(): void {
    this.isReported = false;
  }

  static getDefaultAuthority({ path }: Target): string {
    return addressesIn(path)[0] ?? path;
  }
}

let isKnown = false;

/**
 * The target of grpc-js for an address: itself, or for a list (`host:port,host:port`) one that reaches any of them.
 * @throws Error for a list with something in it that is no `host:port`
 */
export const targetOf = (address: string): string => {
  const addresses = addressesIn(address);
  if (addresses.length === 1) return address;
  const misfit = addresses.find((one) => !/^[^:,/\s]+:\d+$/.test(one));
  if (misfit !== undefined) throw new Error(`"${misfit}" in the list of addresses "${address}" is not host:port`);
  if (!isKnown) experimental.registerResolver(scheme, AddressListResolver);
  isKnown = true;
  return `${scheme}:${address}`;
};
