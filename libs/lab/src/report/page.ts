import { type Html, html } from './html.ts';
import { style } from './style.ts';

/** A page without external resources. @param ownStyle rules after the common ones of all reports */
export const document = (title: string, content: Html, ownStyle = ''): string =>
  html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${{ html: style + ownStyle }}</style>
</head>
<body>
<main>
${content}
</main>
</body>
</html>
`.html;
