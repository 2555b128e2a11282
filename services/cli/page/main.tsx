import { render } from 'preact';
import { App } from './app.tsx';

const root = document.getElementById('page');
if (root === null) throw new Error('the page has no element for its content');
root.replaceChildren();
render(<App />, root);
