/**
 * The part of an address that stands for one client: all of an IPv4 address, the first 64 bits of an IPv6 address. A client with an
 * IPv6 network has 2^64 addresses.
 */
export const clientOf = (address: string): string => {
  // Without its zone, the interface behind a %.
  const [plain = ''] = address.replace(/^::ffff:(?=\d+\.)/i, '').split('%', 1);
  if (!plain.includes(':')) return plain;
  const [left = '', right] = plain.toLowerCase().split('::');
  const groupsOf = (text: string | undefined): readonly string[] => (text ? text.split(':') : []);
  const [first, last] = [groupsOf(left), groupsOf(right)];
  const zeros = right === undefined ? 0 : 8 - first.length - last.length;
  return [...first, ...Array.from({ length: zeros }, () => '0'), ...last].slice(0, 4).join(':');
};
