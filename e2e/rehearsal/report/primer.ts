import { type Html, html } from './html.ts';

/** For readers who do not know what a customer-managed key is: the idea in one picture and a few words. */
export const primer = (): Html => html`<section>
  <h2>What is being rehearsed</h2>
  <p>A disk is encrypted with a data key of its own. That data key is never stored as it is, only locked (“wrapped”) by a key
  which the customer keeps in a vault. To run a machine, the disk service asks the vault to unlock the data key, as an identity
  the customer has allowed to. Disable or delete the key, or withdraw the permission, and nothing can be unlocked any more.</p>
  <div class="scroll wide"><svg viewBox="0 0 1110 128" role="img" aria-label="The customer’s key locks the data key, which encrypts the disk, which a machine uses">
    ${box(6, 'Customer’s key', 'RSA, stays in the vault', '--key-vault')}
    ${arrow(236, 'locks', 'and unlocks')}
    ${box(316, 'Data key', 'AES-256, one per disk', '--disk-encryption-set')}
    ${arrow(546, 'encrypts', 'every sector')}
    ${box(626, 'Disk', 'only ciphertext in its file', '--disk')}
    ${arrow(856, 'read and', 'written by')}
    ${box(936, 'Machine', 'sees plain data', '--compute', 168)}
  </svg></div>
  <p style="margin-top: 12px"><b style="color: var(--ink)">Rotation</b> locks the same data keys with a newer key while machines go on; the disks are
  not rewritten. <b style="color: var(--ink)">Coming back</b> works by enabling the key, by granting access, or, even from a deleted key, by assigning
  another one with the word of whoever could have recovered it.</p>
</section>`;

function box(x: number, title: string, words: string, colour: string, width = 222): Html {
  return html`<rect x="${x}" y="28" width="${width}" height="72" rx="10" style="fill: var(${colour}); opacity: .13"/>
    <rect x="${x}" y="28" width="${width}" height="72" rx="10" style="fill: none; stroke: var(${colour}); stroke-width: 1.5"/>
    <text class="name" x="${x + width / 2}" y="60" text-anchor="middle">${title}</text>
    <text x="${x + width / 2}" y="80" text-anchor="middle">${words}</text>`;
}

function arrow(x: number, above: string, below: string): Html {
  return html`<path d="M${x} 64 h64 m-7 -5 l7 5 l-7 5" style="fill: none; stroke: var(--faint); stroke-width: 1.5"/>
    <text class="small" x="${x + 32}" y="54" text-anchor="middle">${above}</text>
    <text class="small" x="${x + 32}" y="82" text-anchor="middle">${below}</text>`;
}
