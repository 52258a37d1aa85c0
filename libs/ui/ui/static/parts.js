// Behaviours the workspace and the portal share. Every function binds what it finds below `root` and may run twice.
export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...(root.matches?.(selector) ? [root] : []), ...root.querySelectorAll(selector)];
export const meta = name => $(`meta[name="${name}"]`)?.content ?? '';
export const lang = document.documentElement.lang || 'en';
const words = JSON.parse(meta('q-words') || '{}');
export const word = (key, values = {}) => (words[key] ?? key).replace(/%\((\w+)\)s/g, (_, name) => values[name] ?? '');
export const announce = text => { const box = $('#announce'); if (box) { box.textContent = ''; requestAnimationFrame(() => { box.textContent = text; }); } };

// Whether this element was bound for this purpose before; marks it.
export const first = (element, what) => { const key = `bound_${what}`; if (element[key]) return false; element[key] = true; return true; };

const loading = new Map();
export const load = file => {
  if (!loading.has(file)) loading.set(file, new Promise((resolve, reject) => {
    document.head.append(Object.assign(document.createElement('script'), { src: meta('q-static') + file, onload: resolve, onerror: () => { loading.delete(file); reject(new Error(`${file} did not load`)); } }));
  }));
  return loading.get(file);
};

// ---- numbers and money: whole minor units in BigInt, so that no sum is ever off by a cent --------------------------
export const number = (value, decimals = 0) => new Intl.NumberFormat(lang, { minimumFractionDigits: decimals, maximumFractionDigits: decimals }).format(value).replace('-', '\u2212');
const decimalSign = new Intl.NumberFormat(lang).formatToParts(1.5).find(part => part.type === 'decimal').value;
export const minorText = (minor, exponent) => {
  const base = 10n ** BigInt(exponent), absolute = minor < 0n ? -minor : minor;
  const whole = new Intl.NumberFormat(lang).format(absolute / base);
  return (minor < 0n ? '\u2212' : '') + whole + (exponent ? decimalSign + String(absolute % base).padStart(exponent, '0') : '');
};
const codeAfter = lang.startsWith('fr') || lang.startsWith('es');
const span = (className, text) => Object.assign(document.createElement('span'), { className, textContent: text });
export const amountNode = (minor, currency, exponent) => {
  const node = span('amt', '');
  const text = document.createTextNode(minorText(minor, exponent));
  node.append(...(codeAfter ? [text, span('ccy after', '\u00a0' + currency)] : [span('ccy', currency + '\u00a0'), text]));
  return node;
};

// "EUR 4218000 2; GBP 648000 2" -> [[currency, minor, exponent]]
const amountsOf = text => (text || '').split(';').map(part => part.trim().split(' ')).filter(part => part.length === 3).map(([currency, minor, exponent]) => [currency, BigInt(minor), Number(exponent)]);
export const addUp = texts => {
  const sums = new Map();
  for (const text of texts) for (const [currency, minor, exponent] of amountsOf(text)) sums.set(currency, [(sums.get(currency)?.[0] ?? 0n) + minor, exponent]);
  return [...sums].map(([currency, [minor, exponent]]) => [currency, minor, exponent]);
};
const sumNodes = sums => sums.flatMap(([currency, minor, exponent], i) => i ? [document.createTextNode(' \u2002'), amountNode(minor, currency, exponent)] : [amountNode(minor, currency, exponent)]);

// ---- live totals of ticked rows, one per currency, never added across currencies ------------------------------------
const boxesOf = scope => $$('tbody input[type=checkbox], .it input[type=checkbox], .p-item input[type=checkbox]', scope).filter(box => !box.disabled);

function showTotals(scope) {
  const out = $(scope.dataset.totals);
  const boxes = boxesOf(scope), ticked = boxes.filter(box => box.checked), all = scope.dataset.allTicked === 'yes';
  for (const box of boxes) {
    const row = box.closest('tr');
    if (row && !row.classList.contains('cursor')) row.toggleAttribute('aria-selected', false);
    if (row) row.classList.toggle('ticked', box.checked);
  }
  const head = $('[data-tick-all]', scope);
  if (head) { head.checked = boxes.length > 0 && ticked.length === boxes.length; head.indeterminate = ticked.length > 0 && !head.checked; }
  if (!out) return;
  const sums = all ? addUp([out.dataset.allAmounts]) : addUp(ticked.map(box => box.dataset.amounts));
  const count = all ? Number(out.dataset.allCount) : ticked.length;
  for (const place of [...$$('[data-count]', out), ...$$('[data-count]', scope)]) place.textContent = number(count);
  for (const place of [...$$('[data-sum]', out), ...$$('[data-sum]', scope), ...$$(`[data-mirror="${scope.dataset.totals}"]`)]) place.replaceChildren(...sumNodes(sums));
  scope.dispatchEvent(new CustomEvent('q:totals', { bubbles: true, detail: { of: scope.dataset.totals, sums } }));
  const line = $('[data-collectable-line]', out), withHold = boxes.some(box => 'collectable' in box.dataset);
  if (line) { line.hidden = !withHold || !ticked.length || all; $('[data-coll]', out).replaceChildren(...sumNodes(addUp(ticked.map(box => box.dataset.collectable)))); }
  const more = $('[data-all]', out), field = $('[data-all-field]', out);
  if (more) more.hidden = all || !head?.checked || Number(out.dataset.allCount) <= boxes.length;
  if (field) field.value = all ? '1' : '';
  if (all) announce(word('all', { count: number(count) }));
}

export function totals(root) {
  $$('[data-totals]', root).forEach(scope => {
    if (first(scope, 'totals')) {
      scope.addEventListener('change', event => {
        if (event.target.type !== 'checkbox') return;
        scope.dataset.allTicked = '';
        if ('tickAll' in event.target.dataset) boxesOf(scope).forEach(box => { box.checked = event.target.checked; });
        showTotals(scope);
      });
      scope.addEventListener('reset', () => setTimeout(() => showTotals(scope)));
      const out = $(scope.dataset.totals);
      $('[data-all]', out || scope)?.addEventListener('click', () => { scope.dataset.allTicked = 'yes'; showTotals(scope); out.querySelector('button:not([data-all]), a.btn')?.focus(); });
    }
    showTotals(scope);
  });
  const scope = root.closest?.('[data-totals]');
  if (scope) showTotals(scope);
}

// ---- small ones ------------------------------------------------------------------------------------------------------
export function copies(root) {
  $$('[data-copy]', root).forEach(button => first(button, 'copy') && button.addEventListener('click', async () => {
    const before = button.textContent;
    try { await navigator.clipboard.writeText(button.dataset.copy); }
    catch { // No permission or no secure context: the old way, on a field nobody sees.
      const field = document.body.appendChild(Object.assign(document.createElement('textarea'), { value: button.dataset.copy, className: 'sr' }));
      field.select(); document.execCommand('copy'); field.remove(); button.focus();
    }
    button.textContent = word('copied'); announce(word('copied'));
    setTimeout(() => { button.textContent = before; }, 2000);
  }));
}

export function codes(root) {
  $$('[data-qr]', root).forEach(async box => {
    if (!first(box, 'qr')) return;
    if (box.dataset.qrFollows) document.addEventListener('q:totals', event => { if (event.detail.of === box.dataset.qrFollows) { fill(box, event.detail.sums); if (window.qrcode) draw(box); } });
    await load('vendor/qrcode.js');
    draw(box);
  });
}
// The amount of a transfer's code is the line that begins with its currency; without an amount there is no code.
function fill(box, sums) {
  const found = sums.find(([currency]) => currency === box.dataset.qrCurrency), [minor, exponent] = found ? [found[1], found[2]] : [0n, 2];
  const digits = String(minor).padStart(exponent + 1, '0'), amount = exponent ? `${digits.slice(0, -exponent)}.${digits.slice(-exponent)}` : digits;
  box.closest('.qr-row')?.toggleAttribute('hidden', minor <= 0n);
  box.dataset.qr = box.dataset.qr.replace(new RegExp(`^${box.dataset.qrCurrency}[0-9.]+$`, 'm'), `${box.dataset.qrCurrency}${amount}`);
}
function draw(box) {
  // The name of who is paid may have accents; the code says that it is UTF-8.
  window.qrcode.stringToBytes = text => [...new TextEncoder().encode(text)];
  const code = window.qrcode(0, 'M');
  code.addData(box.dataset.qr); code.make();
  const n = code.getModuleCount(), svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg'), path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  let d = '';
  for (let y = 0; y < n; y++) for (let x = 0; x < n; x++) if (code.isDark(y, x)) d += `M${x} ${y}h1v1h-1z`;
  svg.setAttribute('viewBox', `0 0 ${n} ${n}`); svg.setAttribute('shape-rendering', 'crispEdges'); path.setAttribute('d', d);
  svg.append(path); box.replaceChildren(svg);
}

// A form sends once: its button says so and locks; coming back unlocks it.
export function onces(root) {
  $$('form[data-once]', root).forEach(form => first(form, 'once') && form.addEventListener('submit', event => {
    const button = event.submitter ?? $('button[type=submit], button:not([type])', form);
    if (!button || event.defaultPrevented) return;
    setTimeout(() => { button.disabled = true; button.dataset.was = button.innerHTML; button.textContent = word('sending'); });
  }));
}
window.addEventListener('pageshow', event => { if (event.persisted) $$('form[data-once] button[data-was]').forEach(button => { button.disabled = false; button.innerHTML = button.dataset.was; }); });

// ---- a file goes up with progress ---------------------------------------------------------------------------------
export const size = bytes => bytes >= 1e6 ? `${number(bytes / 1e6, 1)}\u00a0M${lang === 'fr' ? 'o' : 'B'}` : `${number(Math.max(1, bytes / 1e3), 0)}\u00a0K${lang === 'fr' ? 'o' : 'B'}`;

export function drops(root) {
  $$('form[data-drop]', root).forEach(form => {
    if (!first(form, 'drop')) return;
    const input = $('input[type=file]', form), error = $('[data-error]', form), box = $('.drop-p', form), bar = $('progress', form), figures = $('[data-figures]', form);
    $$('[data-no-script]', form).forEach(button => { button.hidden = true; });
    const fail = text => { error.textContent = text; error.hidden = false; box.hidden = true; form.removeAttribute('aria-busy'); input.value = ''; input.disabled = false; };
    const send = () => {
      const files = [...input.files], most = Number(form.dataset.maxBytes || 0);
      if (!files.length) return;
      error.hidden = true;
      const allowed = input.accept.split(',').map(kind => kind.trim().toLowerCase()).filter(kind => kind.startsWith('.'));
      for (const file of files) {
        if (most && file.size > most) return fail(word('tooLarge', { size: size(file.size), most: size(most) }));
        if (allowed.length && !allowed.some(end => file.name.toLowerCase().endsWith(end))) return fail(word('wrongType', { name: file.name }));
      }
      const request = new XMLHttpRequest(), started = performance.now(), data = new FormData(form);
      $('[data-name]', form).textContent = files.map(file => file.name).join(', ');
      box.hidden = false; bar.value = 0; form.setAttribute('aria-busy', 'true'); input.disabled = true;
      request.upload.addEventListener('progress', event => {
        if (!event.lengthComputable) return;
        bar.value = 100 * event.loaded / event.total;
        figures.textContent = word('uploading', { percent: `${Math.floor(bar.value)}\u00a0%`, rate: size(event.loaded / Math.max(.2, (performance.now() - started) / 1000)) });
      });
      request.upload.addEventListener('load', () => { bar.removeAttribute('value'); figures.textContent = word('reading'); });
      request.addEventListener('load', () => {
        let answer = {};
        try { answer = JSON.parse(request.responseText); } catch { answer = {}; }
        if (request.status >= 400) return fail(answer.message || (request.getResponseHeader('Content-Type')?.startsWith('text/plain') && request.responseText) || word('failed'));
        const to = answer.href || (request.responseURL !== new URL(form.action, location).href ? request.responseURL : '');
        if (to) location.assign(to); else location.reload();
      });
      for (const ended of ['error', 'abort', 'timeout']) request.addEventListener(ended, () => fail(word('failed')));
      request.open('POST', form.action);
      request.setRequestHeader('Accept', 'application/json, text/html;q=0.9');
      if (meta('csrf-token')) request.setRequestHeader('X-CSRF-Token', meta('csrf-token'));
      request.send(data);
    };
    input.addEventListener('change', send);
    form.addEventListener('submit', event => { event.preventDefault(); send(); });
    for (const over of ['dragenter', 'dragover']) form.addEventListener(over, event => { event.preventDefault(); form.classList.add('over'); });
    for (const out of ['dragleave', 'drop']) form.addEventListener(out, event => { if (out === 'drop' || !form.contains(event.relatedTarget)) form.classList.remove('over'); });
    form.addEventListener('drop', event => { event.preventDefault(); if (!input.disabled && event.dataTransfer.files.length) { input.files = event.dataTransfer.files; send(); } });
  });
}

// ---- dates as people write them: 22/9, 22.9.2026, 22 sep, +7, fri, today. The day stands first, as on the page. ------
const iso = day => day.toISOString().slice(0, 10);
const utc = (y, m, d) => { const day = new Date(Date.UTC(y, m, d)); return day.getUTCFullYear() === y && day.getUTCMonth() === m && day.getUTCDate() === d ? day : null; };
const monthName = (m, month = 'long') => new Intl.DateTimeFormat(lang, { month, timeZone: 'UTC' }).format(new Date(Date.UTC(2026, m, 1)));
const plain = text => text.toLowerCase().normalize('NFD').replace(/[\u0300-\u036f.]/g, '').trim();
export const dateText = (text, style = 'weekday') => {
  const day = new Date(text + 'T00:00:00Z');
  const part = options => new Intl.DateTimeFormat(lang === 'en' ? 'en-US' : lang, { ...options, timeZone: 'UTC' }).format(day);
  const rest = [day.getUTCDate(), part({ month: 'short' }), day.getUTCFullYear()].join('\u00a0');
  return style === 'weekday' ? `${part({ weekday: 'short' })}\u00a0${rest}` : rest;
};

// {iso} or {error}; a year nobody wrote is the one that puts the day nearest to `today`, looking ahead.
export function readDate(text, today) {
  const now = new Date(today + 'T00:00:00Z'), said = plain(text), plus = n => ({ iso: iso(new Date(now.getTime() + n * 864e5)) });
  if (!said) return { iso: '' };
  if (said === plain(word('today'))) return plus(0);
  if (said === plain(word('tomorrow'))) return plus(1);
  let m = said.match(/^([+-])\s*(\d{1,3})$/);
  if (m) return plus(Number(m[1] + m[2]));
  const weekday = said.length > 1 ? word('days').split(' ').findIndex(day => said.startsWith(plain(day)) || plain(day).startsWith(said)) : -1;
  if (weekday >= 0) return plus((weekday - now.getUTCDay() + 7) % 7 || 7);
  let d, month, year;
  if ((m = said.match(/^(\d{4})-(\d{1,2})-(\d{1,2})$/))) [year, month, d] = [Number(m[1]), Number(m[2]) - 1, Number(m[3])];
  else if ((m = text.trim().match(/^(\d{1,2})[/.\-\s](\d{1,2})(?:[/.\-\s](\d{2}|\d{4}))?\.?$/))) [d, month, year] = [Number(m[1]), Number(m[2]) - 1, m[3] && Number(m[3])];
  else if ((m = said.replace(/^[a-z]{2,4} (?=\d)/, '').match(/^(\d{1,2})(?:er)?\s*([a-z]{3,})\s*(\d{2}|\d{4})?$/))) {
    d = Number(m[1]); year = m[3] && Number(m[3]);
    month = [...Array(12).keys()].find(k => plain(monthName(k)).startsWith(m[2]) || m[2].startsWith(plain(monthName(k, 'short'))));
    if (month === undefined) return { error: word('noDate') };
  } else if ((m = said.match(/^\d{1,2}$/))) { // A day alone: this month's, or the next one's when it has passed.
    d = Number(said); month = now.getUTCMonth(); year = now.getUTCFullYear();
    if (d < now.getUTCDate()) { month += 1; if (month > 11) { month = 0; year += 1; } }
  } else return { error: word('noDate') };
  if (month > 11 || month < 0 || d < 1) return { error: word('noDate') };
  if (year !== undefined && year < 100) year += 2000;
  const found = year ? utc(year, month, d) : [0, 1].map(more => utc(now.getUTCFullYear() + more, month, d)).find(day => day && day >= new Date(now.getTime() - 90 * 864e5));
  if (found) return { iso: iso(found) };
  const days = new Date(Date.UTC(year || now.getUTCFullYear(), month + 1, 0)).getUTCDate();
  return { error: d > days ? word('noDay', { month: monthName(month), days }) : word('noDate') };
}

export function dates(root) {
  $$('[data-date-field]', root).forEach(box => {
    if (!first(box, 'date')) return;
    const native = $('input[type=date]', box), hint = $('[data-hint], .form-hint', box), before = hint?.innerHTML ?? '';
    const today = meta('q-today') || new Date().toISOString().slice(0, 10);
    const field = Object.assign(document.createElement('input'), { type: 'text', className: native.className, id: native.id, autocomplete: 'off', required: native.required, value: native.value ? dateText(native.value, 'year') : '' });
    for (const name of ['aria-describedby', 'aria-invalid']) if (native.hasAttribute(name)) field.setAttribute(name, native.getAttribute(name));
    const pick = Object.assign(document.createElement('button'), { type: 'button', className: 'btn btn-quiet btn-sm btn-icon date-b' });
    pick.setAttribute('aria-label', word('calendar'));
    pick.innerHTML = '<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="M4 7a2 2 0 0 1 2 -2h12a2 2 0 0 1 2 2v12a2 2 0 0 1 -2 2h-12a2 2 0 0 1 -2 -2v-12"/><path d="M16 3v4"/><path d="M8 3v4"/><path d="M4 11h16"/></svg>';
    native.id += '-native'; native.required = false; native.tabIndex = -1; native.className = 'date-n'; native.setAttribute('aria-hidden', 'true'); native.removeAttribute('aria-describedby');
    native.before(field, pick);
    const show = () => {
      const { iso: value, error } = readDate(field.value, today);
      native.value = error ? '' : value;
      field.setCustomValidity(error || '');
      field.classList.toggle('is-invalid', Boolean(error));
      if (error) field.setAttribute('aria-invalid', 'true'); else field.removeAttribute('aria-invalid');
      if (hint) { hint.classList.toggle('t-bad', Boolean(error)); if (error) hint.textContent = error; else if (value) hint.textContent = dateText(value); else hint.innerHTML = before; }
      if (!error && value) field.value = dateText(value, 'year');
      native.dispatchEvent(new Event('q:date', { bubbles: true }));
    };
    field.addEventListener('change', show);
    native.addEventListener('change', () => { field.value = native.value ? dateText(native.value, 'year') : ''; show(); field.focus(); });
    pick.addEventListener('click', () => { try { native.showPicker(); } catch { native.focus(); } });
  });
}
