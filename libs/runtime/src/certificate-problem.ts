/** Codes with which Node refuses the certificate of a server: OpenSSL's on verification, and its own about names. */
const refusal =
  /^(CERT_[A-Z_]+|UNABLE_TO_(GET_ISSUER_CERT(_LOCALLY)?|VERIFY_LEAF_SIGNATURE)|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|INVALID_(CA|PURPOSE)|HOSTNAME_MISMATCH|ERR_TLS_CERT_ALTNAME_INVALID)$/;

/** Why the certificate of a server was refused, if an error or one of its causes says so. Waiting does not resolve it. */
export const certificateProblem = (error: unknown): string | undefined => {
  if (!(error instanceof Error)) return undefined;
  if ('code' in error && typeof error.code === 'string' && refusal.test(error.code)) {
    return `${error.message} (${error.code})`;
  }
  return certificateProblem(error.cause);
};
