import {
  type Principal,
  Principal_Type as PrincipalType,
} from '@interlock/contracts/interlock/identity/v1/principal.ts';
import { RestError } from '../errors/rest-error.ts';

/** Whether a principal is among those that a `$filter` wants. */
export interface DirectoryFilter {
  /** The only id that can fit; undefined where the filter names none. */
  readonly id?: string;
  fits(principal: Principal): boolean;
}

const text = "'((?:[^']|'')*)'";
const forms: readonly (readonly [RegExp, (wanted: string) => Partial<DirectoryFilter>])[] = [
  [new RegExp(`^servicePrincipalNames/any\\(\\s*(\\w+)\\s*:\\s*\\1\\s+eq\\s+${text}\\s*\\)$`, 'i'), (id) => ({ id })],
  [new RegExp(`^(appId|id)\\s+eq\\s+${text}$`, 'i'), (id) => ({ id })],
  [
    new RegExp(`^(displayName|userPrincipalName|mail)\\s+eq\\s+${text}$`, 'i'),
    (name) => named((shown) => shown === name.toLowerCase()),
  ],
  [
    new RegExp(`^startswith\\(\\s*(displayName|userPrincipalName|mail)\\s*,\\s*${text}\\s*\\)$`, 'i'),
    (start) => named((shown) => shown.startsWith(start.toLowerCase())),
  ],
  [
    new RegExp(`^(servicePrincipalType)\\s+eq\\s+${text}$`, 'i'),
    (type) => ({ fits: (principal) => servicePrincipalType(principal).toLowerCase() === type.toLowerCase() }),
  ],
];

const named = (isWanted: (shown: string) => boolean): Partial<DirectoryFilter> => ({
  fits: ({ displayName }) => isWanted(displayName.toLowerCase()),
});

/** How the directory calls the kind of an application. */
export const servicePrincipalType = ({ type }: Principal): string =>
  type === PrincipalType.MANAGED_IDENTITY ? 'ManagedIdentity' : 'Application';

/**
 * Reads the `$filter` of a list of the directory: terms joined by "and".
 * @throws RestError 400 for a term of another form
 */
export const directoryFilterOf = (given: string | undefined): DirectoryFilter => {
  const terms = (given ?? '').split(/\s+and\s+/i).filter((term) => term.trim() !== '');
  const parts = terms.map((term) => {
    const plain = term.trim().replace(/^\((.*)\)$/, '$1');
    for (const [form, make] of forms) {
      const [, , value] = form.exec(plain) ?? [];
      if (value !== undefined) return make(value.replaceAll("''", "'"));
    }
    throw new RestError(
      400,
      'Request_UnsupportedQuery',
      `The $filter term "${term.slice(0, 100)}" is not supported: use appId eq, id eq, displayName eq, startswith(displayName,'…') or servicePrincipalNames/any(c:c eq '…'), joined by "and".`,
    );
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
