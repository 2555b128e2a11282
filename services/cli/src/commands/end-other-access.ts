/** The flag of the commands of the data path that ends a direct access the disk already has: it has one at a time. */
export const endOtherAccess = 'end-other-access';
