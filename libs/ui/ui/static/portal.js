// The customer's page: totals of what is chosen, copying, the QR code, dates and files. It all works without, except totals.
import { $$, codes, copies, dates, drops, onces, totals } from './parts.js';

for (const bind of [totals, copies, codes, dates, drops, onces]) bind(document);
$$('[data-focus]').forEach(element => element.focus());
