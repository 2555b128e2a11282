import type { Instant } from '@interlock/runtime';

/** The facts of one VM host. These names and shapes are on disk: add; never rename, never reuse. None is published. */
export type VmHostEvent =
  /** Its process renewed for the first time, or it was lost and has ended its guests since. It takes guests. */
  | { readonly type: 'VmHostRegistered'; readonly at: Instant }
  /** It takes no new guest; those it has stay. */
  | { readonly type: 'VmHostCordoned'; readonly at: Instant }
  /** It takes no new guest, its machines start at other hosts, and it is drained once no machine is on there. */
  | { readonly type: 'VmHostDraining'; readonly at: Instant }
  | { readonly type: 'VmHostDrained'; readonly at: Instant }
  /** It takes new guests again. */
  | { readonly type: 'VmHostOpened'; readonly at: Instant }
  /** Its guests cannot be waited for. `by`: the principal that declared it lost; `''` if it had not renewed for too long. */
  | { readonly type: 'VmHostLost'; readonly by: string; readonly at: Instant }
  | { readonly type: 'VmHostDeleted'; readonly at: Instant };
