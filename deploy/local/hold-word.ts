import { openOutside } from '../../e2e/cloud/clients.ts';
import type { LocalCloud } from './local-cloud.ts';

/**
 * What is to be said of a cloud in which nobody may use a key although everything serves: that key-vault is on hold, why, and
 * what shows more. Undefined where it is not.
 */
export async function holdWord(
  cloud: Pick<LocalCloud, 'addresses' | 'administrator' | 'authorityFile'>,
): Promise<string | undefined> {
  const outside = openOutside(cloud);
  try {
    const { hold } = await outside.administrator.keyVault.getHold({});
    if (hold === undefined) return undefined;
    const why = hold.reason === 'ASKED_FOR' ? 'HOLD asks for it' : 'its store ends before where it had been';
    return `But key-vault is on hold (${why}): nobody can use a key until that is confirmed. See npx interlock hold show`;
  } catch (error) {
    // The first administrator may have been taken away; the cloud runs all the same.
    return `Whether key-vault is on hold cannot be told: ${error instanceof Error ? error.message : error}`;
  } finally {
    outside.close();
  }
}
