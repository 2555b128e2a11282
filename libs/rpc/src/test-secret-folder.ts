import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A folder as a kubelet mounts a Secret. */
export interface SecretFolder {
  /** Path of a file in it. */
  file(name: string): string;
  /** Replaces all files in one step, as a kubelet does: `file` → `..data/file`, `..data` → another folder than before. */
  lay(texts: Readonly<Record<string, string>>): void;
}

/** @param path does not exist yet */
export const secretFolder = (path: string): SecretFolder => {
  let version = 0;
  mkdirSync(path);
  return {
    file: (name) => join(path, name),
    lay: (texts) => {
      version += 1;
      const own = `..${version}`;
      mkdirSync(join(path, own));
      for (const [name, text] of Object.entries(texts)) writeFileSync(join(path, own, name), text);
      symlinkSync(own, join(path, '..new'));
      renameSync(join(path, '..new'), join(path, '..data'));
      for (const name of Object.keys(texts)) {
        rmSync(join(path, name), { force: true });
        symlinkSync(join('..data', name), join(path, name));
      }
    },
  };
};
