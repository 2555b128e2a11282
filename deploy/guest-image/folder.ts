import { join, resolve } from 'node:path';
import { repository } from '../local/data-folder.ts';

/** The folder to which `interlock image build` writes the guest image and from which clouds read it: GUEST_IMAGE_FOLDER, or a folder of the clone. */
export const guestImageFolder = (env: Readonly<Record<string, string | undefined>>): string =>
  env.GUEST_IMAGE_FOLDER ? resolve(env.GUEST_IMAGE_FOLDER) : join(repository, '.interlock', 'guest-image');
