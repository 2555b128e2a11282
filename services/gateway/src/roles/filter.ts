import { RestError } from '../errors/rest-error.ts';
import { filterLexicon, termsOf } from '../text/odata.ts';

/** What a `$filter` of role assignments and role definitions selects. */
export interface RoleFilter {
  /** In lower case. */
  readonly principalId?: string;
  /** In lower case. */
  readonly roleName?: string;
  /** Without what is assigned below the scope. */
  readonly isAtScope: boolean;
}

const invalid = (what: string): RestError =>
  new RestError(
    400,
    'InvalidFilterInQueryString',
    `The $filter of roles is invalid: ${what}. Terms: principalId eq, assignedTo('…'), roleName eq, type eq, atScope(), atScopeAndBelow(); joined by "and".`,
  );

/** Reads a `$filter` of role assignments or role definitions. @throws RestError 400 for an unknown term */
export const roleFilterOf = (filter: string | undefined): RoleFilter => {
  const found: { -readonly [Member in keyof RoleFilter]: RoleFilter[Member] } = { isAtScope: false };
  for (const { name, operator, given, shown } of termsOf(filter, filterLexicon(invalid))) {
    const value = given[0]?.toLowerCase() ?? '';
    switch (`${name} ${operator}`) {
      case 'principalid eq':
      case 'assignedto ()':
        found.principalId = value;
        break;
      case 'rolename eq':
        found.roleName = value;
        break;
      case 'atscope ()':
        found.isAtScope = true;
        break;
      case 'atscopeandbelow ()':
      case 'type eq':
        break;
      default:
        throw invalid(`the term "${shown}" is unknown`);
    }
  }
  return found;
};
