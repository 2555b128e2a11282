import { workloads } from '@interlock/host';
import type { Findings } from '@interlock/lab/judge/findings';
import type { DiskHeader } from '../../../services/disk/src/host/header/disk-header-format.ts';
import { openSimulatedWrap, simulatedPrivateKey } from '../../../services/key-vault/src/rsa/simulated-rsa.ts';
import type { CloudImage, SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { SimulatedTruth } from '../truth/truth.ts';

/** The first bytes of the wrapped plaintext are the DEK; this is its length. */
const dekBytes = 32;
/** Length of the shortest text that holds a secret: base64 of the 30 bytes that are searched. */
const shortestForm = 40;

/** A secret in the forms in which text holds bytes. The last character of base64 depends on what follows. */
const formsOf = (secret: Uint8Array): readonly string[] => {
  const bytes = Buffer.from(secret.subarray(0, dekBytes));
  const whole = bytes.subarray(0, 30);
  return [whole.toString('base64'), whole.toString('base64url'), bytes.toString('hex'), `[${[...bytes].join(',')}]`];
};

/** Forms of the DEK under a header. Every history needs those of its initial disks. */
const formsKnown = new WeakMap<DiskHeader, readonly string[]>();

/** @param n modulus of the version that wraps it, which `openSimulatedWrap` opens it with */
const formsOfDek = (header: DiskHeader, n: string): readonly string[] => {
  const { algorithm, wrapped } = header.wrap;
  const known =
    formsKnown.get(header) ??
    formsOf(openSimulatedWrap({ publicJwk: { kty: 'RSA', n, e: 'AQAB' } }, algorithm, wrapped));
  formsKnown.set(header, known);
  return known;
};

/** Images that were searched: they cannot hold secrets that were made later. */
const clean = new WeakSet<CloudImage>();

interface Parts {
  readonly world: SimulatedCloud;
  readonly truth: SimulatedTruth;
}

/** What must not be in plain text, in the forms of text. The DEKs are those that really wrap the data, unwrapped here from the headers. */
const secretsOf = ({ disks, losses }: SimulatedTruth): ReadonlyMap<string, readonly string[]> => {
  const found = new Map<string, readonly string[]>();
  for (const disk of disks.disks.values()) {
    const header = disks.headerOf(disk);
    const n = header && losses.access.modulusOf(header.wrap.keyVersion);
    if (header && n !== undefined) found.set(`the DEK of ${disk.name}`, formsOfDek(header, n));
  }
  for (const keyVersion of losses.access.keyVersions()) {
    const n = losses.access.modulusOf(keyVersion);
    if (n !== undefined) found.set(`the private half of ${keyVersion}`, formsOf(simulatedPrivateKey(n)));
  }
  return found;
};

/** Texts of every event, row and log line that the history added to its image. */
const placesOf = async ({ storeOf, begunWith, serviceLog }: SimulatedCloud) => {
  const known = begunWith && clean.has(begunWith) ? begunWith.stores : undefined;
  const places = new Map<string, ReadonlySet<string>>([['a line of a log', new Set(serviceLog)]]);
  for (const service of workloads) {
    const store = storeOf(service);
    const { feed, tables } = known?.get(service) ?? {};
    places.set(`an event of ${service}`, longTextsOf(await store.feed(feed?.length ?? 0, 1_000_000)));
    for (const table of tablesOf[service] ?? []) {
      const before = tables?.get(table)?.rows;
      const rows = await store.listRows({ table, limit: 1_000_000 });
      const changed = rows.filter((row) => before?.get(row.key) !== row);
      places.set(`a row of ${table} of ${service}`, longTextsOf(changed));
    }
  }
  return places;
};

/** G8: no plaintext DEK and no private key is in any event, row or log line. */
export const checkSecrets = async ({ world, truth }: Parts, log: Findings): Promise<void> => {
  const places = await placesOf(world);
  // All places as one text, because starting a search costs more than searching most places.
  const everything = [...places.values()].flatMap((texts) => [...texts]).join('\n');
  for (const [secret, forms] of secretsOf(truth)) {
    const form = forms.find((one) => everything.includes(one));
    if (form === undefined) continue;
    const [place] = [...places].find(([, texts]) => [...texts].some((text) => text.includes(form))) ?? ['a place'];
    log.violate('G8', `${secret} is nowhere in the clear`, `it is in ${place}`);
    return;
  }
  if (world.begunWith) clean.add(world.begunWith);
};

/** Every text in a value that is long enough for a secret, each once; names of fields too, and lists of numbers as JSON. */
const longTextsOf = (value: unknown): ReadonlySet<string> => {
  const found = new Set<string>();
  const note = (text: string): void => {
    if (text.length >= shortestForm) found.add(text);
  };
  const lookThrough = (part: unknown): void => {
    if (typeof part === 'string') note(part);
    else if (Array.isArray(part)) {
      if (typeof part[0] === 'number') note(JSON.stringify(part));
      else for (const item of part) lookThrough(item);
    } else if (typeof part === 'object' && part !== null) {
      const fields = part as Readonly<Record<string, unknown>>;
      for (const name in fields) {
        note(name);
        lookThrough(fields[name]);
      }
    }
  };
  lookThrough(value);
  return found;
};

/** Tables of each service with more than the content of its streams. */
const tablesOf: Readonly<Record<string, readonly string[]>> = {
  'key-vault': ['audit_v1', 'key_material_v1'],
  disk: ['set_key_v1', 'set_loss_v1'],
  compute: ['key_loss_v1'],
};
