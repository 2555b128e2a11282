import type { ClusterApi } from './cluster-api.ts';
import type { Secret } from './secrets.ts';

/** Only some of the Secrets exist, and the missing ones cannot be regenerated to match. */
export class HalfSetUp extends Error {
  override readonly name = 'HalfSetUp';
}

/** Holds the whole set while its parts are being made, so that a run that was cut off is finished by the next one. */
export const journalName = 'interlock-setup';

/**
 * Makes the Secrets of a new cloud in the cluster, and leaves an existing cloud alone. Safe to run again, also after a run
 * that ended half way, and beside another one.
 * @param make new secrets that belong together; called only where there are none
 * @param names of what `make` makes
 * @returns names of what was made; empty when the cloud was set up before
 * @throws HalfSetUp naming what is there and what is missing, ClusterRefusal
 */
export const setUp = async (
  api: ClusterApi,
  names: readonly string[],
  make: () => Promise<readonly Secret[]>,
): Promise<readonly string[]> => {
  const present = await api.secretNames();
  const missing = names.filter((name) => !present.has(name));
  if (missing.length > 0 && missing.length < names.length && !present.has(journalName)) {
    const left = names.filter((name) => present.has(name));
    throw new HalfSetUp(
      `Secrets that belong together are there only in part. There: ${left.join(', ')}. Missing: ${missing.join(', ')}. ` +
        'Where this cloud has data, restore the missing ones from your backup; a new cloud is set up by deleting those that are there and running this Job again.',
    );
  }
  if (missing.length === names.length && !present.has(journalName)) await api.createSecret(journalOf(await make()));
  if (missing.length > 0) {
    // Also where another run was faster with the journal: what it says counts, not what was made here.
    const journal = await api.readSecret(journalName);
    for (const secret of secretsIn(journal)) await api.createSecret(secret);
  }
  await api.deleteSecret(journalName);
  return missing;
};

const journalOf = (secrets: readonly Secret[]): Secret => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: journalName, labels: { 'app.kubernetes.io/part-of': 'interlock' } },
  type: 'Opaque',
  data: { 'secrets.json': Buffer.from(JSON.stringify(secrets)).toString('base64') },
});

const secretsIn = ({ data }: Pick<Secret, 'data'>): readonly Secret[] =>
  JSON.parse(Buffer.from(data['secrets.json'] ?? '', 'base64').toString());
