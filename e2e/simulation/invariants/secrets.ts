import { workloads } from '@interlock/host';
import type { DiskHeader } from '../../../services/disk/src/host/header/disk-header-format.ts';
import { openSimulatedWrap, simulatedPrivateKey } from '../../../services/key-vault/src/rsa/simulated-rsa.ts';
import type { CloudImage, SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { Truth } from '../oracle/oracle.ts';
import type { HistoryLog } from '../runs/history-log.ts';

/** Bytes of a DEK at the start of what is wrapped. */
const dekBytes = 32;
/** Length of the shortest text that holds a secret: base64 of the 30 bytes that are looked for. */
const shortestForm = 40;

/** A secret in the forms in which text holds bytes. The last character of base64 depends on what follows. */
const formsOf = (secret: Uint8Array): readonly string[] => {
  const bytes = Buffer.from(secret.subarray(0, dekBytes));
  const whole = bytes.subarray(0, 30);
  return [whole.toString('base64'), whole.toString('base64url'), bytes.toString('hex'), `[${[...bytes].join(',')}]`];
};

/** Forms of the DEK under a header. Of disks that a history begins with, every history asks anew. */
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

/** What histories of this process began with and was looked through: it cannot hold what was made later. */
const clean = new WeakSet<CloudImage>();

/**
 * G8: no plaintext DEK and no private key is in any event, row or line of a log. The DEKs are those that really wrap the
 * data, opened here from the headers.
 */
export const secretsJudge = (parts: {
  readonly world: SimulatedCloud;
  readonly log: HistoryLog;
  readonly truth: Truth;
}) => {
  const { world, log, truth } = parts;
  const secrets = (): ReadonlyMap<string, readonly string[]> => {
    const found = new Map<string, readonly string[]>();
    for (const disk of truth.disks.disks.values()) {
      const header = truth.disks.headerOf(disk);
      const n = header && truth.losses.access.modulusOf(header.wrap.keyVersion);
      if (header && n !== undefined) found.set(`the DEK of ${disk.name}`, formsOfDek(header, n));
    }
    for (const keyVersion of truth.losses.access.keyVersions()) {
      const n = truth.losses.access.modulusOf(keyVersion);
      if (n !== undefined) found.set(`the private half of ${keyVersion}`, formsOf(simulatedPrivateKey(n)));
    }
    return found;
  };

  return {
    async checkAll(): Promise<void> {
      const { begunWith } = world;
      const known = begunWith && clean.has(begunWith) ? begunWith.stores : undefined;
      const places = new Map<string, ReadonlySet<string>>([['a line of a log', new Set(world.serviceLog)]]);
      for (const service of workloads) {
        const store = world.storeOf(service);
        const { feed, tables } = known?.get(service) ?? {};
        places.set(`an event of ${service}`, longTextsOf(await store.feed(feed?.length ?? 0, 1_000_000)));
        for (const table of tablesOf[service] ?? []) {
          const before = tables?.get(table)?.rows;
          const rows = await store.listRows({ table, limit: 1_000_000 });
          const changed = rows.filter((row) => before?.get(row.key) !== row);
          places.set(`a row of ${table} of ${service}`, longTextsOf(changed));
        }
      }
      // All places as one text: to begin a search costs more than most places are long.
      const everything = [...places.values()].flatMap((texts) => [...texts]).join('\n');
      for (const [secret, forms] of secrets()) {
        const form = forms.find((one) => everything.includes(one));
        if (form === undefined) continue;
        const [place] = [...places].find(([, texts]) => [...texts].some((text) => text.includes(form))) ?? ['a place'];
        log.violate('G8', `${secret} is nowhere in the clear`, `it is in ${place}`);
        return;
      }
      if (begunWith) clean.add(begunWith);
    },
  };
};

/**
 * Every text in it that is long enough to hold a secret, names of fields among them, each once; lists of numbers as JSON writes
 * them. Most texts are shorter, or are there many times.
 */
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

/** Tables of each service that hold more than its streams do. */
const tablesOf: Readonly<Record<string, readonly string[]>> = {
  'key-vault': ['audit_v1', 'key_material_v1'],
  disk: ['set_key_v1', 'set_loss_v1'],
  compute: ['key_loss_v1'],
};
