import {
  type Principal,
  Principal_Type as PrincipalType,
} from '@interlock/contracts/interlock/identity/v1/principal.ts';
import { RestError } from '../errors/rest-error.ts';
import { type FilterTerm, filterLexicon, termsOf } from '../text/odata.ts';

/** Whether a principal is among those that a `$filter` wants. */
export interface DirectoryFilter {
  /** The only id that can fit; undefined where the filter names none. */
  readonly id?: string;
  fits(principal: Principal): boolean;
}

/** What a term selects. @returns undefined for a term that is not supported */
const selected = ({ name, operator, given }: FilterTerm): Partial<DirectoryFilter> | undefined => {
  const [first = '', second] = given;
  switch (`${name} ${operator}`) {
    case 'serviceprincipalnames/any ()':
    case 'appid eq':
    case 'id eq':
      return { id: first };
    case 'displayname eq':
    case 'userprincipalname eq':
    case 'mail eq':
      return named((shown) => shown === first.toLowerCase());
    case 'startswith ()':
      if (second === undefined || !nameMembers.has(first.toLowerCase())) return undefined;
      return named((shown) => shown.startsWith(second.toLowerCase()));
    case 'serviceprincipaltype eq':
      return { fits: (principal) => servicePrincipalType(principal).toLowerCase() === first.toLowerCase() };
    default:
      return undefined;
  }
};

/** Members that are the name of a principal here. */
const nameMembers: ReadonlySet<string> = new Set(['displayname', 'userprincipalname', 'mail']);

const named = (isWanted: (shown: string) => boolean): Partial<DirectoryFilter> => ({
  fits: ({ displayName }) => isWanted(displayName.toLowerCase()),
});

/** How the directory calls the kind of an application. */
export const servicePrincipalType = ({ type }: Principal): string =>
  type === PrincipalType.MANAGED_IDENTITY ? 'ManagedIdentity' : 'Application';

const invalid = (what: string): RestError =>
  new RestError(
    400,
    'Request_UnsupportedQuery',
    `The $filter is not supported: ${what}. Use appId eq, id eq, displayName eq, startswith(displayName,'…') or servicePrincipalNames/any(c:c eq '…'), joined by "and".`,
  );

/**
 * Reads the `$filter` of a list of the directory: terms joined by "and".
 * @throws RestError 400 for a term of another form
 */
export const directoryFilterOf = (given: string | undefined): DirectoryFilter => {
  const parts = termsOf(given, filterLexicon(invalid)).map((term) => {
    const part = selected(term);
    if (part === undefined) throw invalid(`the term "${term.shown}" is unknown`);
    return part;
  });
  const [id] = parts.flatMap((part) => (part.id === undefined ? [] : [part.id]));
  return {
    ...(id === undefined ? {} : { id }),
    fits: (principal) =>
      parts.every(
        (part) =>
          (part.id === undefined || principal.name === `principals/${part.id.toLowerCase()}`) &&
          (part.fits?.(principal) ?? true),
      ),
  };
};
