/** The anchor of a heading, as GitHub forms it: so that links work there and on the site. @param heading text without Markdown */
export const anchorOf = (heading: string): string =>
  heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
