const loopback = /^(localhost|\[::1\]|127(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3})(:\d{1,5})?$/i;

/**
 * Whether a `Host` header names this machine by a loopback name or address: `localhost`, 127.0.0.0/8 or `[::1]`, with or without a
 * port. A page of another site can point its own name at a loopback address (DNS rebinding), and its browser then sends that name.
 */
export const isLoopbackHost = (host: string | undefined): boolean => loopback.test(host ?? '');
