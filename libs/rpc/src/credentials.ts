import { ChannelCredentials, experimental, ServerCredentials } from '@grpc/grpc-js';
import type { Renewed } from '@interlock/runtime';

/** PEM texts of a server. With `clientCa` every client has to show a certificate of that authority (mutual TLS). */
export interface ServerTls {
  readonly certificate: string;
  readonly key: string;
  readonly clientCa?: string;
}

/** PEM texts of a client: whom it trusts and, for mutual TLS, what it shows. */
export interface ClientTls {
  readonly ca: string;
  readonly certificate?: string;
  readonly key?: string;
}

/**
 * What a server shows and asks for. Renewed ones hold for every connection made after their renewal; whether clients have to
 * show a certificate is decided once.
 */
export const serverCredentials = (tls: ServerTls | Renewed<ServerTls> | 'plaintext'): ServerCredentials => {
  if (tls === 'plaintext') return ServerCredentials.createInsecure();
  if ('current' in tls) {
    const asksClients = tls.current().clientCa !== undefined;
    // In the order of the class behind it: the function's own parameters are named the other way round.
    return experimental.createCertificateProviderServerCredentials(
      provider({ tls, ca: ({ clientCa }) => clientCa }),
      asksClients ? provider({ tls, ca: ({ clientCa }) => clientCa }) : null,
      asksClients,
    );
  }
  const { certificate, key, clientCa } = tls;
  return ServerCredentials.createSsl(
    clientCa === undefined ? null : Buffer.from(clientCa),
    [{ cert_chain: Buffer.from(certificate), private_key: Buffer.from(key) }],
    clientCa !== undefined,
  );
};

/** What a client trusts and shows. Renewed ones hold for every connection made after their renewal. */
export const channelCredentials = (tls: ClientTls | Renewed<ClientTls> | 'plaintext'): ChannelCredentials => {
  if (tls === 'plaintext') return ChannelCredentials.createInsecure();
  if ('current' in tls) {
    // Of their own for each channel: channels with the same ones and to the same address would share a connection.
    const own = provider({ tls, ca: ({ ca }) => ca });
    return experimental.createCertificateProviderChannelCredentials(own, tls.current().key === undefined ? null : own);
  }
  const { ca, certificate, key } = tls;
  return ChannelCredentials.createSsl(
    Buffer.from(ca),
    key === undefined ? null : Buffer.from(key),
    certificate === undefined ? null : Buffer.from(certificate),
  );
};

/**
 * How grpc-js asks for certificates. It is told once after it began to listen, and then of every renewal; not before it
 * returned from beginning, because only then it hears.
 */
const provider = <Tls extends { readonly certificate?: string; readonly key?: string }>(parts: {
  readonly tls: Renewed<Tls>;
  readonly ca: (tls: Tls) => string | undefined;
}): experimental.CertificateProvider => {
  const { tls, ca } = parts;
  const endings = new Map<unknown, () => void>();
  const listen = (listener: unknown, tell: () => void): void => {
    endings.set(listener, tls.onRenewal(tell));
    process.nextTick(tell);
  };
  const end = (listener: unknown): void => {
    endings.get(listener)?.();
    endings.delete(listener);
  };
  return {
    addCaCertificateListener: (listener) =>
      listen(listener, () => {
        const authorities = ca(tls.current());
        listener(authorities === undefined ? null : { caCertificate: Buffer.from(authorities) });
      }),
    removeCaCertificateListener: end,
    addIdentityCertificateListener: (listener) =>
      listen(listener, () => {
        const { certificate, key } = tls.current();
        const isWhole = certificate !== undefined && key !== undefined;
        listener(isWhole ? { certificate: Buffer.from(certificate), privateKey: Buffer.from(key) } : null);
      }),
    removeIdentityCertificateListener: end,
  };
};
