import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Mutant } from './mutant.ts';

/** Root of the repository. */
export const root = fileURLToPath(new URL('../../..', import.meta.url));

/** How often a text occurs in another. */
export const occurrences = (text: string, find: string): number => text.split(find).length - 1;

/**
 * Plants a mutant in every module that is loaded from here on. Types are stripped afterwards, so the patch is TypeScript.
 * @returns whether the file was loaded, and so is part of what runs
 * @throws Error while loading if the text to replace does not occur exactly once
 */
export const plant = ({ file, find, replace }: Mutant): { readonly isLoaded: () => boolean } => {
  const target = pathToFileURL(join(root, file)).href;
  let isLoaded = false;
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (url !== target) return loaded;
      const source = String(loaded.source);
      const count = occurrences(source, find);
      if (count !== 1) throw new Error(`${file} holds the text to be replaced ${count} times`);
      isLoaded = true;
      return { ...loaded, source: source.replace(find, () => replace) };
    },
  });
  return { isLoaded: () => isLoaded };
};
