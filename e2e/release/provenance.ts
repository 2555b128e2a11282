/** A file of a release. */
export interface ReleasedFile {
  readonly name: string;
  /** Hexadecimal. */
  readonly sha256: string;
}

/** How a release was built. */
export interface BuildFacts {
  readonly version: string;
  /** Full id of the commit; undefined if files differed from it. */
  readonly commit: string | undefined;
  /** URL of the repository, if known. */
  readonly source: string | undefined;
  /** Arguments of `npm run release`. */
  readonly arguments: readonly string[];
  /** SHA-256 of pnpm-lock.yaml, hexadecimal. */
  readonly lockfileSha256: string;
  /** `v24.…` */
  readonly node: string;
  /** `linux-x64` */
  readonly platform: string;
}

/**
 * States of what and how the files of a release were built: an in-toto statement (v1) with a SLSA provenance predicate (v1), see
 * https://slsa.dev/spec/v1.0/provenance. It is not signed and has no time, so it proves nothing by itself: the workflow of a
 * release signs one of its own. Who builds the commit again compares the sums.
 */
export const provenance = (files: readonly ReleasedFile[], facts: BuildFacts): object => {
  const uri = facts.source === undefined ? 'git+file:.' : `git+${facts.source}`;
  return {
    _type: 'https://in-toto.io/Statement/v1',
    subject: files.map(({ name, sha256 }) => ({ name, digest: { sha256 } })),
    predicateType: 'https://slsa.dev/provenance/v1',
    predicate: {
      buildDefinition: {
        buildType: `${facts.source ?? 'file:.'}/docs/how-to/release.md`,
        externalParameters: { version: facts.version, arguments: facts.arguments },
        internalParameters: { node: facts.node, platform: facts.platform },
        resolvedDependencies: [
          {
            uri,
            ...(facts.commit === undefined
              ? { annotations: { uncommitted: true } }
              : { digest: { gitCommit: facts.commit } }),
          },
          { name: 'pnpm-lock.yaml', digest: { sha256: facts.lockfileSha256 } },
        ],
      },
      runDetails: { builder: { id: `${facts.source ?? 'file:.'}/e2e/release/release.ts` } },
    },
  };
};
