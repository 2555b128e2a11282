import type { NetworkRules as WireRules } from '@interlock/contracts/interlock/key_vault/v1/vault.ts';
import { Rejection } from '@interlock/event-store';

/** From where the keys of a vault can be reached (CMK-29). Stored in events. */
export interface NetworkRules {
  readonly defaultAction: 'allow' | 'deny';
  /** Whether sets and their disks are served whatever the rules. */
  readonly bypass: boolean;
  /** IPv4 ranges such as `192.0.2.0/24`; a single address is a range of one. Without repeats. */
  readonly ipRules: readonly string[];
  /** Whether only trusted services are served, if `bypass`. */
  readonly publicAccessDisabled: boolean;
}

/** Rules of one vault in the public cloud; the same limit here. */
const ipRulesMax = 1_000;

/** Those of a vault whose keys can be reached from everywhere. */
export const openRules: NetworkRules = {
  defaultAction: 'allow',
  bypass: true,
  ipRules: [],
  publicAccessDisabled: false,
};

/** Whether callers at every address are served. */
const isOpen = ({ defaultAction, publicAccessDisabled }: NetworkRules): boolean =>
  defaultAction === 'allow' && !publicAccessDisabled;

/** Whether sets and their disks are served. */
export const servesTrusted = (rules: NetworkRules = openRules): boolean => isOpen(rules) || rules.bypass;

/** Whether a caller outside of the cloud is served. @param address IPv4; undefined if it is not known */
export const servesAddress = (rules: NetworkRules = openRules, address: string | undefined): boolean => {
  if (isOpen(rules)) return true;
  if (rules.publicAccessDisabled || address === undefined) return false;
  return rules.ipRules.some((rule) => isInRange(rule, address));
};

const isInRange = (range: string, address: string): boolean => {
  const [network = '', prefix] = range.split('/');
  const size = 2 ** (32 - Number(prefix));
  return Math.floor(numberOf(network) / size) === Math.floor(numberOf(address) / size);
};

/** An IPv4 address as a number; NaN for another text. */
const numberOf = (address: string): number => {
  const parts = address.split('.');
  const isAddress = parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255);
  return isAddress ? parts.reduce((number, part) => number * 256 + Number(part), 0) : Number.NaN;
};

/** Whether two rules are equal. */
export const isSameRules = (one: NetworkRules, other: NetworkRules): boolean =>
  one.defaultAction === other.defaultAction &&
  one.bypass === other.bypass &&
  one.publicAccessDisabled === other.publicAccessDisabled &&
  one.ipRules.join() === other.ipRules.join();

/**
 * The IPv4 address of a caller, from an address with or without a port. An address of this machine in IPv6 counts as 127.0.0.1.
 * @returns undefined for another IPv6 address, which no rule names, and for what is no address
 */
export const addressOf = (peer: string): string | undefined => {
  const host = peer.replace(/^ipv[46]:/, '').replace(/^\[(.*)\](:\d+)?$/, '$1');
  const plain = host.replace(/^::ffff:/i, '').replace(/^(\d+\.\d+\.\d+\.\d+):\d+$/, '$1');
  if (plain === '::1' || /^::1:\d+$/.test(plain)) return '127.0.0.1';
  return Number.isNaN(numberOf(plain)) ? undefined : plain;
};

/** @throws Rejection INVALID_ARGUMENT NETWORK_RULES_INVALID */
export const networkRulesFromWire = (rules: WireRules | undefined): NetworkRules => {
  if (rules === undefined) return openRules;
  const { defaultAction, bypassTrustedServices, ipRules, publicAccessDisabled } = rules;
  if (defaultAction === 'UNRECOGNIZED') throw invalid('network_rules.default_action', 'ALLOW or DENY', defaultAction);
  if (ipRules.length > ipRulesMax)
    throw invalid('network_rules.ip_rules', `at most ${ipRulesMax} rules`, String(ipRules.length));
  return {
    defaultAction: defaultAction === 'DENY' ? 'deny' : 'allow',
    bypass: bypassTrustedServices,
    ipRules: [...new Set(ipRules.map(rangeOf))],
    publicAccessDisabled,
  };
};

/** Network rules as the API shows them. */
export const networkRulesOnWire = (rules: NetworkRules): WireRules => ({
  defaultAction: rules.defaultAction === 'deny' ? 'DENY' : 'ALLOW',
  bypassTrustedServices: rules.bypass,
  ipRules: [...rules.ipRules],
  publicAccessDisabled: rules.publicAccessDisabled,
});

const rangeOf = (rule: string): string => {
  const [network = '', prefix = '32', rest] = rule.split('/');
  const isRange =
    !Number.isNaN(numberOf(network)) && /^\d{1,2}$/.test(prefix) && Number(prefix) <= 32 && rest === undefined;
  if (isRange) return `${network}/${Number(prefix)}`;
  throw invalid('network_rules.ip_rules', 'IPv4 addresses or ranges such as 192.0.2.0/24', rule);
};

const invalid = (field: string, allowed: string, got: string): Rejection =>
  new Rejection(
    'INVALID_ARGUMENT',
    'NETWORK_RULES_INVALID',
    `${field} must be ${allowed} (got "${got.slice(0, 100)}")`,
    { field },
  );
