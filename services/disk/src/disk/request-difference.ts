/** Fields of the API by what a request calls them; those not named here are called alike. */
const fieldNames: Readonly<Record<string, string>> = {
  sizeGib: 'size_gib',
  sourceDisk: 'source_disk',
  // A disk of the same name that was made since.
  sourceUniqueId: 'source_disk',
  asked: 'encryption',
};

/** Of what a copy takes from its source unless it is told otherwise: two wishes with other sources cannot be compared in it. */
const inherited: ReadonlySet<string> = new Set(['sizeGib', 'encryption']);

/** In which fields of a request two wishes for a disk or snapshot differ. @param one as the facts keep it: the JSON of an object */
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
