import { int, optional, text } from '@interlock/runtime';
import { guestSpec } from '../guests/guest-settings.ts';

/** The settings of a VM host, in addition to those of every process. */
export const vmHostSpec = {
  ...guestSpec,
  vmHost: text('Unique name of this VM host; its machines name it, so it never changes', { default: 'vm-host-0' }),
  vmHostAddress: text('host:port at which compute reaches this VM host'),
  hostZone: optional(text('Where this VM host is, for example the zone of its node; shown, and for placement')),
  guestCapacity: int('Most guests of this VM host', { min: 1, max: 10_000, default: 100 }),
} as const;
