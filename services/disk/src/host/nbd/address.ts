/** Where NBD clients connect: a Unix socket, or TCP with mutual TLS. */
export type NbdAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tls'; readonly host: string; readonly port: number };

/** The text that `parseNbdAddress` reads. */
export const nbdAddressText = (address: NbdAddress): string =>
  address.kind === 'unix'
    ? `unix:${address.path}`
    : `tls://${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;

/** Reads `unix:<path>` or `tls://<host>:<port>`. @returns undefined for any other text */
export const parseNbdAddress = (text: string): NbdAddress | undefined => {
  const [, path] = /^unix:(\/.+)$/.exec(text) ?? [];
  if (path !== undefined) return { kind: 'unix', path };
  const [, host, port] = /^tls:\/\/(\[[0-9a-f:]+\]|[^:/\s]+):(\d{1,5})$/i.exec(text) ?? [];
  if (host === undefined || Number(port) > 65_535) return undefined;
  return { kind: 'tls', host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
};
