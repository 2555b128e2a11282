import tls from 'node:tls';
import { ChannelCredentials, experimental, ServerCredentials } from '@grpc/grpc-js';
import type { Renewed } from '@interlock/runtime';

/**
 * Cipher suites of every TLS connection of this process: all of TLS 1.3, and those of TLS 1.2 with authenticated encryption and
 * forward secrecy (RFC 9325 §4.2). grpc-js has a setting, but a renewed certificate resets it, so this changes Node's default,
 * which includes CBC suites.
 */
tls.DEFAULT_CIPHERS = [
  'TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/** PEM texts of a server. With `clientCa` every client must present a certificate of that authority (mutual TLS). */
export interface ServerTls {
  readonly certificate: string;
  readonly key: string;
  readonly clientCa?: string;
}

/** PEM texts of a client: the authority it trusts and, for mutual TLS, its own certificate. */
export interface ClientTls {
  readonly ca: string;
  readonly certificate?: string;
  readonly key?: string;
}

/**
 * Credentials of a server. A renewal applies to later connections. Whether clients must present a certificate is decided once.
 */
export const serverCredentials = (tls: ServerTls | Renewed<ServerTls> | 'plaintext'): ServerCredentials => {
  if (tls === 'plaintext') return ServerCredentials.createInsecure();
  if ('current' in tls) {
    const asksClients = tls.current().clientCa !== undefined;
    // In the order of the underlying class: the types of this function name the parameters the other way round.
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

/** Credentials of a client. A renewal applies to later connections. */
export const channelCredentials = (tls: ClientTls | Renewed<ClientTls> | 'plaintext'): ChannelCredentials => {
  if (tls === 'plaintext') return ChannelCredentials.createInsecure();
  if ('current' in tls) {
    // Separate for each channel: channels with equal credentials and address would share a connection.
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
 * Provides certificates to grpc-js. It is notified once after it has added its listener, and then of every renewal; never before
 * that call has returned, because only then it listens.
 */
const provider = <Tls extends { readonly certificate?: string; readonly key?: string }>(parts: {
  readonly tls: Renewed<Tls>;
  readonly ca: (tls: Tls) => string | undefined;
}): experimental.CertificateProvider => {
  const { tls, ca } = parts;
  const endings = new Map<unknown, () => void>();
  const listen = (listener: unknown, notify: () => void): void => {
    endings.set(listener, tls.onRenewal(notify));
    process.nextTick(notify);
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
