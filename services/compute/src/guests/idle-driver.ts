import type { VmHost } from './vm-host.ts';

/** Runs no guests: for fleets too large to run, which only decide, store and publish. */
export const idleDriver = (): VmHost => ({
  hasGuests: false,
  start: async () => {},
  stop: async () => {},
  attach: async () => {},
  detach: async () => {},
  isRunning: async () => true,
  disksOf: async () => [],
  runningGuests: async () => [],
  ioOf: async () => undefined,
  journalOf: async () => undefined,
  forget: async () => {},
  endOf: async () => ({ end: 'GUEST_ENDED' }),
  onEnded: () => {},
});
