import { type Html, html } from '@interlock/lab/report/html';

/** For readers who do not know what a customer-managed key is: the idea in one picture and a few words. */
export const primer = (): Html => html`<section>
  <h2>What is being rehearsed</h2>
  <p>A disk is encrypted with a data key of its own. That data key is never stored as it is, only locked (“wrapped”) by a key
  which the customer keeps in a vault. To run a machine, the disk service asks the vault to unlock the data key, as an identity
  the customer has allowed to. Disable or delete the key, or withdraw the permission, and nothing can be unlocked any more.</p>
  <div class="chain" role="img" aria-label="The customer’s key locks the data key, which encrypts the disk, which a machine uses">
    ${box('Customer’s key', 'RSA, stays in the vault', '--key-vault')}
    ${arrow('locks', 'and unlocks')}
    ${box('Data key', 'AES-256, one per disk', '--disk-encryption-set')}
    ${arrow('encrypts', 'every sector')}
    ${box('Disk', 'only ciphertext in its file', '--disk')}
    ${arrow('read and', 'written by')}
    ${box('Machine', 'sees plain data', '--compute')}
  </div>
  <p style="margin-top: 12px"><b style="color: var(--ink)">Rotation</b> locks the same data keys with a newer key while machines run; the disks are
  not rewritten. <b style="color: var(--ink)">Coming back</b> works by enabling the key, by granting access, or, even from a deleted key, by assigning
  another one with the authorization of a principal who could have recovered it.</p>
</section>`;

const box = (title: string, words: string, colour: string): Html =>
  html`<div class="link" style="--of: var(${colour})"><b>${title}</b><span>${words}</span></div>`;

const arrow = (first: string, second: string): Html =>
  html`<div class="arrow"><span>${first}</span><i></i><span>${second}</span></div>`;
