/** Headers of a reply: a header has ASCII only, and a URL in one may repeat what a client sent. Other characters are percent-encoded. */
export const asciiHeaders = (headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      value.replace(/[^\x20-\x7e]+/g, (run) => encodeURIComponent(run.toWellFormed())),
    ]),
  );
