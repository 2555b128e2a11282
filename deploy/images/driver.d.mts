/** Checks the Postgres driver in `app`. @returns whether `app` has one @throws Error if it is not patched */
export function checkDriverOf(app: string, node?: string): boolean;
