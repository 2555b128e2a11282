import { shortName } from '@interlock/lab/short-name';
import { useEffect, useState } from 'preact/hooks';
import type { PageImpact } from '../src/page/impact.ts';
import { type ImpactKind, impactActions } from '../src/page/impact-actions.ts';
import { type Cloud, shortKey } from './cloud.ts';
import type { OpenWhy } from './now.tsx';
import { Some } from './parts.tsx';

/** What can be taken away. */
interface Target {
  /** As users name it: `key kv1/k1`. */
  readonly label: string;
  readonly kind: ImpactKind;
  /** Full name; of an identity, that of its set. */
  readonly name: string;
}

/** Suggestions that are listed: a field is typed into when there are more. */
const SUGGESTIONS_MAX = 50;

/** What a loss would stop. It changes nothing. */
export function Before({ cloud, openWhy }: { readonly cloud: Cloud; readonly openWhy: OpenWhy }) {
  const [typed, setTyped] = useState('');
  const [chosen, setChosen] = useState('');
  const targets = targetsOf(cloud);
  const target = targets.find(({ label }) => label === typed.trim());
  const actions = target === undefined ? [] : impactActions[target.kind];
  const action = actions.find(([one]) => one === chosen)?.[0] ?? actions[0]?.[0];
  const suggested = targets.filter(({ label }) => label.includes(typed.trim())).slice(0, SUGGESTIONS_MAX);
  return (
    <section id="before" aria-labelledby="before-title">
      <h2 id="before-title">Before you act</h2>
      <p>What would stop, as of now. Nothing here changes anything: the commands are for a terminal.</p>
      <div class="choice">
        <label>
          Suppose that{' '}
          <input
            list="before-targets"
            value={typed}
            placeholder="key, vault, identity or host"
            autocomplete="off"
            onInput={({ currentTarget }) => setTyped(currentTarget.value)}
          />
        </label>
        <datalist id="before-targets">
          {suggested.map(({ label }) => (
            <option key={label} value={label} />
          ))}
        </datalist>
        {actions.length > 0 && (
          <label>
            <span class="hidden">What happens to it</span>
            <select value={action} onChange={({ currentTarget }) => setChosen(currentTarget.value)}>
              {actions.map(([one, words]) => (
                <option key={one} value={one}>
                  {words}
                </option>
              ))}
            </select>
          </label>
        )}
      </div>
      {typed.trim() !== '' && target === undefined && (
        <p>
          {targets.length === 0
            ? 'There is nothing that could be lost.'
            : `For example: ${suggested[0]?.label ?? targets[0]?.label}`}
        </p>
      )}
      {target !== undefined && action !== undefined && (
        <Impact key={`${action} ${target.name}`} path={`impact/${action}/${target.name}`} openWhy={openWhy} />
      )}
    </section>
  );
}

function Impact({ path, openWhy }: { readonly path: string; readonly openWhy: OpenWhy }) {
  const [impact, setImpact] = useState<PageImpact | 'reading' | 'failed'>('reading');
  useEffect(() => {
    const ended = new AbortController();
    fetch(path, { signal: ended.signal })
      .then((response) => (response.ok ? response.json() : 'failed'))
      .then(setImpact, () => ended.signal.aborted || setImpact('failed'));
    return () => ended.abort();
  }, [path]);
  if (impact === 'reading') return <p role="status">Reading what depends on it …</p>;
  if (impact === 'failed') return <p role="status">This could not be read.</p>;
  const { text, parts, isCut, commands, problem } = impact;
  return (
    <>
      <p role="status">
        <b>{problem === '' ? `${text.charAt(0).toUpperCase()}${text.slice(1)}.` : `Not known: ${problem}`}</b>
        {isCut && ' This counts only the first 20,000 lines of the preview.'}
      </p>
      <h3>In a terminal</h3>
      {commands.map((command) => (
        <Command key={command} text={command} />
      ))}
      {parts.map(({ title, count, names }) => (
        <div key={title}>
          <h3>
            {title}: {count.toLocaleString('en')}
          </h3>
          <Some rows={names} what="names">
            {(shown) => <Names names={shown} openWhy={openWhy} />}
          </Some>
          {count > names.length && <p class="note">The command lists them all.</p>}
        </div>
      ))}
    </>
  );
}

const Names = ({ names, openWhy }: { readonly names: readonly string[]; readonly openWhy: OpenWhy }) => (
  <ul class="machines">
    {names.map((name) => (
      <li key={name}>
        {name.includes('/virtualMachines/') ? (
          <button type="button" class="name" onClick={() => openWhy(name)}>
            {shortName(name)}
          </button>
        ) : (
          shortName(name)
        )}
      </li>
    ))}
  </ul>
);

/** A command, with a button that copies it. */
function Command({ text }: { readonly text: string }) {
  const [label, setLabel] = useState('Copy');
  const copy = (): void =>
    void navigator.clipboard.writeText(text).then(
      () => setLabel('Copied'),
      () => setLabel('The browser does not copy: select it'),
    );
  return (
    <p class="command">
      <code>{text}</code>{' '}
      <button type="button" onClick={copy}>
        {label}
      </button>
    </p>
  );
}

/** Keys, their versions and vaults, identities of sets, and disk hosts that the page knows. */
function targetsOf({ sets, hosts }: Cloud): readonly Target[] {
  const versions = [...new Set(sets.map(({ key }) => key).filter((key) => key !== ''))].toSorted();
  const keys = [...new Set(versions.map((version) => version.split('/').slice(0, 4).join('/')))];
  const vaults = [...new Set(keys.map((key) => key.split('/').slice(0, 2).join('/')))];
  const of = (kind: ImpactKind, names: readonly string[], word: (name: string) => string): readonly Target[] =>
    names.map((name) => ({ kind, name, label: `${kind} ${word(name)}` }));
  return [
    ...of('key', keys, shortKey),
    ...of('vault', vaults, shortName),
    ...of(
      'identity',
      sets.map(({ name }) => name),
      (name) => `set:${shortName(name)}`,
    ),
    ...of(
      'host',
      hosts.map(({ name }) => name),
      shortName,
    ),
    ...of('version', versions, (name) => `${shortKey(name)}/${shortName(name)}`),
  ];
}
