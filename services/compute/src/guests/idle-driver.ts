import type { VmHost } from './vm-host.ts';

/** No guests at all: for fleets too large to run, where what counts is what is decided, stored and told. */
export const idleDriver = (): VmHost => ({
  hasGuests: false,
  start: async () => {},
  stop: async () => {},
  attach: async () => {},
  detach: async () => {},
  isRunning: async () => true,
  runningGuests: async () => [],
  ioOf: async () => undefined,
  forget: async () => {},
  endOf: async () => 'GUEST_ENDED',
  onEnded: () => {},
});
