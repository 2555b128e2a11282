/** Names of fields in the API, if they differ from those in the recorded request. */
const fieldNames: Readonly<Record<string, string>> = {
  sizeGib: 'size_gib',
  sourceDisk: 'source_disk',
  // Another disk of the same name was created since.
  sourceUniqueId: 'source_disk',
  asked: 'encryption',
};

/** Fields that a copy may take from its source: requests with different sources cannot be compared in them. */
const inherited: ReadonlySet<string> = new Set(['sizeGib', 'encryption']);

/** The fields in which two requests for a disk or snapshot differ. @param one as the events keep it: the JSON of an object */
export const differingFields = (one: string, other: string): readonly string[] => {
  const [was, is] = [fieldsIn(one), fieldsIn(other)];
  const isOtherSource = was.get('source') !== is.get('source');
  const differing = [...new Set([...was.keys(), ...is.keys()])].filter(
    (field) => was.get(field) !== is.get(field) && !(isOtherSource && inherited.has(field)),
  );
  return [...new Set(differing.map((field) => fieldNames[field] ?? field))];
};

const fieldsIn = (request: string): ReadonlyMap<string, string> =>
  new Map(Object.entries(Object(JSON.parse(request))).map(([field, value]) => [field, JSON.stringify(value)]));
