import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dataRoot, repository } from '@interlock/local/data-folder.ts';
import { runProgram } from '../../deploy/images/builder.ts';
import { images } from '../../deploy/images/services.mjs';
import { tarFolder } from '../../libs/pack/tar.ts';

/**
 * Builds every image and writes each as an OCI archive that `podman load`, `skopeo` and `buildah` read, with its bill of materials.
 * The archive has no times, unlike that of buildah. Needs buildah.
 * @param folder of the release
 * @param args more arguments of `npm run images`
 * @throws LauncherError if an image cannot be written, Error if one cannot be built
 */
export const archiveImages = async (folder: string, version: string, args: readonly string[]): Promise<void> => {
  const names = Object.keys(images);
  const build = [join(repository, 'deploy/images/build.ts'), ...names, '--tag', version, ...args];
  execFileSync(process.execPath, build, { stdio: 'inherit' });
  const scratch = mkdtempSync(join(tmpdir(), 'interlock-oci-'));
  try {
    for (const name of names) {
      const layout = join(scratch, name);
      const reference = `localhost/interlock/${name}:${version}`;
      await runProgram(
        'buildah',
        ['push', '--quiet', '--format', 'oci', reference, `oci:${layout}:${reference}`],
        process.env,
      );
      writeFileSync(join(folder, `interlock-${name}-${version}.oci.tar`), tarFolder(layout, ''));
      rmSync(layout, { recursive: true });
      const bill = join(dataRoot(process.env), 'images', `${name}.cdx.json`);
      copyFileSync(bill, join(folder, `interlock-${name}-${version}.oci.cdx.json`));
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
};
