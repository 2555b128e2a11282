import type { ClusterApi } from './cluster-api.ts';
import type { Secret } from './secrets.ts';

/** Only some of the Secrets exist, and the missing ones cannot be regenerated to match. */
export class HalfSetUp extends Error {
  override readonly name = 'HalfSetUp';
}

/** Holds all Secrets while they are created one by one, so that the next run can finish a run that failed. */
export const journalName = 'interlock-setup';

/**
 * Creates the Secrets of a new cloud in the cluster, and does not change an existing cloud. May be repeated, also after a run
 * that failed half way, and at the same time as another run.
 * @param make makes new secrets that belong together; called only if none exist
 * @param names of what `make` makes
 * @returns names of the created Secrets; empty if the cloud was set up before
 * @throws HalfSetUp that names the existing and the missing Secrets, ClusterRefusal
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
        'After an upgrade, make those that the new version adds: secrets --missing (docs/how-to/deploy-on-kubernetes.md, Upgrade). If they were lost, restore them from your backup. If this cloud has no data, delete those that are there and run this Job again.',
    );
  }
  if (missing.length === names.length && !present.has(journalName)) await api.createSecret(journalOf(await make()));
  if (missing.length > 0) {
    // If another run created the journal first, its Secrets count, not those made here.
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
