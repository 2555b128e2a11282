import type { VolumeFiles } from '../host/storage/volume-files.ts';

/** Lets the copies of a host wait. */
export interface HeldCopies {
  /** Lets writes to new volumes wait, as those of a copy are. @returns ends that */
  hold(): () => void;
  /** Whether a write waits. */
  isHeld(): boolean;
  /** The files of the host, whose copies wait. */
  over(files: VolumeFiles): VolumeFiles;
}

/** Copies that take as long as a test wants. */
export const heldCopies = (): HeldCopies => {
  let until: Promise<void> | undefined;
  let count = 0;
  return {
    hold() {
      const { promise, resolve } = Promise.withResolvers<void>();
      [until, count] = [promise, 0];
      return () => {
        until = undefined;
        resolve();
      };
    },
    isHeld: () => count > 0,
    over: (files) => ({
      ...files,
      async create(...args) {
        const store = await files.create(...args);
        const write = store.write.bind(store);
        return Object.assign(store, {
          async write(...written: Parameters<typeof write>) {
            if (until !== undefined) count += 1;
            await until;
            return write(...written);
          },
        });
      },
    }),
  };
};
