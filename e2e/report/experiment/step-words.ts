import { cloudParts, faultActions, type KeyAction, keyActions } from '@interlock/experiment';

/** What a step did, in words for a label: `role removed`. */
const done: Readonly<Record<string, string>> = {
  'disable-key': 'key disabled',
  'delete-key': 'key deleted',
  'purge-key': 'key purged',
  'expire-key': 'key expired',
  'not-yet-valid': 'key not yet valid',
  'remove-policy': 'access policy removed',
  'remove-permission': 'permission removed',
  'remove-role': 'role removed',
  'delete-identity': 'identity deleted',
  'set-identity-none': 'identity of the set removed',
  'delete-vault': 'vault deleted',
  'switch-permission-model': 'permission model switched',
  'rotate-key': 'key rotated',
  'assign-key': 'other key assigned',
  throttle: 'vault throttled',
  kill: 'killed',
  restart: 'restarted',
  pause: 'paused',
  slow: 'slowed',
  cut: 'cut',
  'shift-clock': 'clock shifted',
  'fill-storage': 'storage filled',
  'fail-storage': 'storage fails',
  start: 'machines started',
  stop: 'machines stopped by a user',
  attach: 'disk attached',
  detach: 'disk detached',
  snapshot: 'snapshot created',
  'give-back': 'access given back',
};

/** `role removed` of `remove-role`. */
export const actionInWords = (action: string): string => done[action] ?? action;

/** Whether it acts on a part of the cloud and not on a key or a machine. */
export const isFault = (action: string): boolean => faultActions.some((one) => one === action);

/** Key actions after which access continues, or is decided by what follows. */
const changes: readonly KeyAction[] = ['rotate-key', 'assign-key', 'throttle'];

/** Whether it may take access to a key away. */
export const takesAccess = (action: string): boolean =>
  keyActions.some((one) => one === action) && !changes.some((one) => one === action);

/** Whether it is a part of the cloud: `nats`. */
export const isPart = (name: string): boolean => cloudParts.some((part) => part === name);
