import type { Instant } from '@interlock/runtime';

/** The facts of one disk host. These names and shapes are on disk: add; never rename, never reuse. None is published. */
export type DiskHostEvent =
  /** Its process has started with this folder for the first time, or with one that replaces a lost folder. */
  | { readonly type: 'DiskHostRegistered'; readonly folderId: string; readonly at: Instant }
  /** It takes nothing new; what it has stays. */
  | { readonly type: 'DiskHostCordoned'; readonly at: Instant }
  /** It takes nothing new, and is drained once no disk and no snapshot names it. */
  | { readonly type: 'DiskHostDraining'; readonly at: Instant }
  | { readonly type: 'DiskHostDrained'; readonly at: Instant }
  /** It takes new disks again. */
  | { readonly type: 'DiskHostOpened'; readonly at: Instant }
  /** An operator declared its folder lost for good. `by` is the name of the principal. */
  | { readonly type: 'DiskHostLost'; readonly by: string; readonly at: Instant }
  | { readonly type: 'DiskHostDeleted'; readonly at: Instant };
