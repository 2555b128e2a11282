import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';

/**
 * What a run left: a statement of in-toto (https://in-toto.io/Statement/v1) with the SHA-256 of each file, which a DSSE envelope
 * can carry signed.
 */
export interface Manifest {
  readonly _type: 'https://in-toto.io/Statement/v1';
  readonly subject: readonly { readonly name: string; readonly digest: { readonly sha256: string } }[];
  readonly predicateType: 'https://interlock.example/experiment-run/v1';
  readonly predicate: RunIdentity;
}

/** What was run, by what, and where. */
export interface RunIdentity {
  readonly target: string;
  readonly run: string;
  readonly interlock: { readonly version: string; readonly commit: string };
}

/** A signed manifest (https://github.com/secure-systems-lab/dsse). */
export interface Envelope {
  readonly payloadType: string;
  /** Base64 of the bytes of the manifest. */
  readonly payload: string;
  readonly signatures: readonly { readonly keyid: string; readonly sig: string }[];
}

const payloadType = 'application/vnd.in-toto+json';

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** @param files contents by name */
export const manifestOf = (files: ReadonlyMap<string, Uint8Array>, predicate: RunIdentity): Manifest => ({
  _type: 'https://in-toto.io/Statement/v1',
  subject: [...files].map(([name, bytes]) => ({ name, digest: { sha256: sha256(bytes) } })),
  predicateType: 'https://interlock.example/experiment-run/v1',
  predicate,
});

/**
 * The files that are missing, empty or changed, as texts.
 * @param manifest the text of the manifest; undefined if the folder has none
 * @param read content of a file; undefined if it is missing
 * @param namesOf the files to check, which the manifest must name, from the names that it has
 */
export function manifestProblems(
  manifest: string | undefined,
  read: (name: string) => Uint8Array | undefined,
  namesOf: (named: readonly string[]) => readonly string[],
): readonly string[] {
  if (manifest === undefined) return ['manifest.json is missing: nothing shows that the evidence is that of the run'];
  const digests = digestsIn(manifest);
  if (digests === undefined) return ['manifest.json is damaged: it is no statement of a run'];
  const names = [...new Set(namesOf([...digests.keys()]))];
  return names.flatMap((name): readonly string[] => {
    const bytes = read(name);
    if (bytes === undefined) return [`${name} is missing`];
    const digest = digests.get(name);
    if (digest === undefined)
      return [`manifest.json was changed after the run: it does not name ${name}, as that of every run does`];
    if (sha256(bytes) === digest) return [];
    return [bytes.length === 0 ? `${name} is empty` : `${name} was changed after the run`];
  });
}

function digestsIn(text: string): ReadonlyMap<string, string> | undefined {
  try {
    const { subject, _type: type } = JSON.parse(text) as Partial<Manifest>;
    if (type !== 'https://in-toto.io/Statement/v1' || subject === undefined) return undefined;
    return new Map(subject.map(({ name, digest }) => [name, digest.sha256]));
  } catch {
    // Not JSON, or of another shape.
    return undefined;
  }
}

/** The bytes that a signature covers (DSSE, PAE). */
const signedBytes = (payload: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} `), payload]);

const keyId = (key: KeyObject): string => sha256(key.export({ type: 'spki', format: 'der' }));

/** @param privateKey PEM, Ed25519 @throws Error for another key */
export function signManifest(manifest: Uint8Array, privateKey: string | Buffer): Envelope {
  const key = requireEd25519(createPrivateKey(privateKey));
  const sig = sign(null, signedBytes(manifest), key).toString('base64');
  const payload = Buffer.from(manifest).toString('base64');
  return { payloadType, payload, signatures: [{ keyid: keyId(createPublicKey(key)), sig }] };
}

/** Why a manifest is not proved by its envelope; undefined if it is. @param publicKey PEM, Ed25519 @throws Error for another key */
export function signatureProblem(
  manifest: Uint8Array | undefined,
  envelope: string | undefined,
  publicKey: string | Buffer,
): string | undefined {
  const key = requireEd25519(createPublicKey(publicKey));
  if (manifest === undefined) return 'manifest.json is missing';
  if (envelope === undefined) return 'manifest.dsse.json is missing: the evidence is not signed';
  try {
    const { payload, signatures } = JSON.parse(envelope) as Envelope;
    if (Buffer.compare(Buffer.from(payload, 'base64'), manifest) !== 0)
      return 'manifest.json is not the one that was signed';
    const isSigned = signatures.some(({ sig }) => verify(null, signedBytes(manifest), key, Buffer.from(sig, 'base64')));
    return isSigned ? undefined : 'manifest.dsse.json has no signature of that key';
  } catch {
    // Not JSON, or of another shape.
    return 'manifest.dsse.json is damaged: it is no signed statement';
  }
}

/** @throws Error unless it is a public key of Ed25519 in PEM */
export const requirePublicKey = (pem: string | Buffer): void => {
  requireEd25519(createPublicKey(pem));
};

const requireEd25519 = (key: KeyObject): KeyObject => {
  if (key.asymmetricKeyType === 'ed25519') return key;
  throw new Error(
    `the key must be Ed25519, not ${key.asymmetricKeyType}: openssl genpkey -algorithm ed25519 makes one`,
  );
};
