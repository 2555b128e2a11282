/** Styles for the rehearsal's page only, after the style sheet of every report. */
export const rehearsalStyle = `
.chain { display: flex; align-items: center; margin: 22px 0 26px; }
.link { flex: 1 1 0; padding: 17px 12px; border: 1.5px solid var(--of); border-radius: 10px; background: color-mix(in srgb, var(--of) 13%, transparent); text-align: center; }
.link b { display: block; font-size: 13.5px; } .link span { font-size: 12.5px; color: var(--soft); }
.arrow { flex: 0 0 86px; text-align: center; font-size: 11.5px; line-height: 1.2; color: var(--faint); } .arrow span { display: block; }
.arrow i { display: block; height: 18px; font-style: normal; font-size: 17px; line-height: 17px; } .arrow i::before { content: "⟶"; }
.truth td { padding: 6px 12px 6px 0; vertical-align: baseline; }
.truth { font-size: 13.5px; } .truth td { white-space: nowrap; } .truth .stops { color: var(--stop); } .truth .runs { color: var(--work); }
.seen { color: inherit; font-size: 11px; } .legend .seen { color: var(--soft); } .wrong { color: var(--stop); }
.steps .row { align-items: start; padding: 6px 0; }
.steps .what { white-space: normal; }
.steps .calls { color: var(--faint); font-size: 12px; overflow-wrap: anywhere; }
@media (max-width: 640px) { .chain { flex-direction: column; align-items: stretch; } .link { padding: 10px 12px; } .arrow { flex-basis: auto; padding: 4px 0; } .arrow span, .arrow i { display: inline; } .arrow i::before { content: " ↓ "; } }
`;
