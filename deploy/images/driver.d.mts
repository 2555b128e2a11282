/** Checks the driver of Postgres in `app`. @returns whether there was one. @throws Error where it has no patch */
export function checkDriverOf(app: string, node?: string): boolean;
