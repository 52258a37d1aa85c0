// The workspace. No inline handlers, no inline styles: pages run under script-src 'self'; style-src 'self'.
import { $, $$, announce, codes, copies, dates, drops, first, lang, load, meta, number, onces, totals, word } from './parts.js';

const root = document.documentElement;
const store = { get: key => { try { return localStorage.getItem(key); } catch { return null; } }, set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* Private windows may refuse; the choice then lasts for the page. */ } } };
const visible = element => element.getClientRects().length > 0;

// ---- appearance: the system's until chosen; the cookie lets the server paint it right at once -------------------------
function appearance(scope) {
  const name = button => button.setAttribute('aria-label', word(root.dataset.bsTheme === 'dark' ? 'light' : 'dark'));
  $$('[data-theme-toggle]', scope).forEach(button => {
    button.hidden = false; name(button);
    if (!first(button, 'theme')) return;
    button.addEventListener('click', () => {
      root.dataset.bsTheme = root.dataset.bsTheme === 'dark' ? 'light' : 'dark';
      root.dataset.chosen = '';
      document.cookie = `q_theme=${root.dataset.bsTheme}; path=/; max-age=31536000; samesite=lax${location.protocol === 'https:' ? '; secure' : ''}`;
      $$('[data-theme-toggle]').forEach(name);
      document.dispatchEvent(new Event('q:theme'));
    });
  });
}

// ---- lists: J and K move (arrows on an account's items), X ticks, Shift X ticks up to here, Enter opens -----------------------------------------------
const rowsOf = table => $$('tbody tr:not(.group)', table).filter(visible);
const list = () => $$('[data-rows]').find(visible);
let told = 0, waiting = null, queued = '';
const tell = row => { clearTimeout(told); told = 0; row.dispatchEvent(new CustomEvent('q:cursor', { bubbles: true })); };
function moveTo(row, rows) {
  const table = row.closest('[data-rows]');
  $$('tr.cursor', table).forEach(other => { other.classList.remove('cursor'); other.removeAttribute('aria-selected'); });
  row.classList.add('cursor'); row.setAttribute('aria-selected', 'true');
  row.scrollIntoView({ block: 'nearest' });
  announce(word('moved', { name: $('a.name', row)?.textContent.trim() ?? row.cells[0].textContent.trim(), row: number(rows.indexOf(row) + 1), rows: number(rows.length) }));
  // The preview waits until the keys rest, so that holding J does not ask for every row.
  clearTimeout(told);
  told = setTimeout(tell, 150, row);
  waiting = row.hasAttribute('hx-get') ? row : null; queued = '';
}
let anchor = null;
function inList(key, shift) {
  const table = list();
  if (!table) return false;
  const rows = rowsOf(table), at = rows.findIndex(row => row.classList.contains('cursor'));
  if (key === 'up' || key === 'down') { const to = at < 0 ? 0 : at + (key === 'down' ? 1 : -1); if (!rows[to]) return false; moveTo(rows[to], rows); return true; }
  // Where arrows walk the rows, J and K walk the list the page came from.
  if ((key === 'j' || key === 'k') && 'arrows' in table.dataset) return false;
  if (key === 'j' || key === 'k') { if (rows.length) moveTo(rows[at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + (key === 'j' ? 1 : -1)))], rows); return rows.length > 0; }
  if (at < 0) return false;
  if (key === 'x') {
    const from = shift && rows.includes(anchor) ? rows.indexOf(anchor) : at, tick = $('input[type=checkbox]', rows[at]);
    if (!tick) return false;
    const to = !tick.checked;
    for (const row of rows.slice(Math.min(from, at), Math.max(from, at) + 1)) { const box = $('input[type=checkbox]', row); if (box && !box.disabled) box.checked = to; }
    anchor = rows[at];
    tick.dispatchEvent(new Event('change', { bubbles: true }));
    return true;
  }
  if (key === 'enter') { const link = $('a.name', rows[at]); link?.click(); return Boolean(link); }
  return false;
}
function lists(scope) {
  $$('[data-rows]', scope).forEach(table => first(table, 'rows') && table.addEventListener('click', event => {
    const row = event.target.closest('tbody tr:not(.group)');
    if (row && !event.target.closest('a, button, input, label, select, [role=menu]')) moveTo(row, rowsOf(table));
  }));
}

// ---- keys: a letter clicks the visible button that shows it ------------------------------------------------------------
const inField = target => target.isContentEditable || /^(textarea|select)$/i.test(target.tagName) || target.tagName === 'INPUT' && !/^(checkbox|radio|button|submit)$/.test(target.type);
let going = 0;
function press(name, event) {
  const within = $$('dialog[open]').at(-1) ?? document;
  const buttons = $$(`[data-key="${CSS.escape(name)}"]`, within).filter(button => visible(button) && !button.disabled);
  const button = buttons.find(each => each.closest('tr.cursor')) ?? buttons[0];
  if (!button) return;
  event?.preventDefault();
  button.focus();
  if (inField(button)) button.select?.(); else button.click();
}
document.addEventListener('keydown', event => {
  if (event.defaultPrevented || event.isComposing || event.altKey) return;
  const dialog = $$('dialog[open]').at(-1);
  if ((event.ctrlKey || event.metaKey) && event.key === 'Enter') { press(event.shiftKey ? 'ctrl+shift+enter' : 'ctrl+enter', event); return; }
  if (event.ctrlKey || event.metaKey || inField(event.target) || store.get('q-keys') === 'off') return;
  const key = event.key.toLowerCase(), openMenu = $$('.menu-q:popover-open').length > 0;
  if (openMenu) return;
  if (going && Date.now() - going < 1500) {
    going = 0;
    const link = $$(`[data-go="${CSS.escape(key)}"]`).find(visible);
    if (link && !dialog) { event.preventDefault(); link.click(); }
    return;
  }
  if (key === 'g' && !dialog) { going = Date.now(); return; }
  if (key === 'enter') { if ((event.target === document.body || event.target.id === 'main') && !dialog && inList('enter')) event.preventDefault(); return; }
  const arrow = { arrowup: 'up', arrowdown: 'down' }[key];
  // Past the first or last row, and in lists without arrows, they scroll as everywhere.
  if (arrow && !dialog && !event.shiftKey && !event.target.closest('[role=menu], [role=tablist], input[type=radio]') && 'arrows' in (list()?.dataset ?? {}) && inList(arrow)) { event.preventDefault(); return; }
  if (key.length !== 1) return;
  if (!dialog && (key === 'j' || key === 'k' || key === 'x') && inList(key, event.shiftKey)) { event.preventDefault(); return; }
  // The cursor has moved but its preview is still on the way: the letter waits, or it would act on the row before.
  if (waiting && !dialog && /[a-z]/.test(key)) { event.preventDefault(); queued = key; if (told) tell(waiting); return; }
  press(key, event);
});
document.addEventListener('htmx:finally:request', event => {
  if (!waiting || event.detail.ctx?.sourceElement !== waiting) return;
  const key = queued;
  waiting = null; queued = '';
  if (key) setTimeout(press, 0, key);
});
function keySwitch(scope) {
  $$('[data-keys-switch]', scope).forEach(box => { box.checked = store.get('q-keys') !== 'off'; if (first(box, 'keys')) box.addEventListener('change', () => store.set('q-keys', box.checked ? 'on' : 'off')); });
}

// ---- dialogs: the browser's own trap focus, close on Esc and give focus back -----------------------------------------
function dialogs(scope) {
  $$('[data-dialog]', scope).forEach(opener => first(opener, 'dialog') && opener.addEventListener('click', event => {
    const dialog = $(opener.dataset.dialog);
    if (!dialog) return;
    event.preventDefault();
    if (!dialog.open) dialog.showModal();
    dialog.returnTo = opener;
  }));
  $$('dialog', scope).forEach(dialog => {
    if (!first(dialog, 'closing')) return;
    dialog.addEventListener('click', event => { if (event.target === dialog || event.target.closest('[data-close]')) dialog.close(); });
    dialog.addEventListener('close', () => { if (dialog.returnTo?.isConnected) dialog.returnTo.focus(); });
    if ('open' in dialog.dataset) dialog.showModal();
  });
}

// ---- menus: a popover placed below its button; arrows walk through it -------------------------------------------------
const place = (menu, button) => {
  const at = button.getBoundingClientRect(), box = menu.getBoundingClientRect();
  menu.style.left = `${Math.max(8, Math.min(at.left, innerWidth - box.width - 8))}px`;
  menu.style.top = `${at.bottom + box.height + 8 > innerHeight && at.top > box.height ? at.top - box.height - 4 : at.bottom + 4}px`;
};
function menus(scope) {
  $$('[data-menu]', scope).forEach(button => {
    const menu = document.getElementById(button.getAttribute('popovertarget'));
    if (!menu || !first(button, 'menu')) return;
    button.setAttribute('aria-expanded', 'false');
    menu.addEventListener('toggle', event => {
      const open = event.newState === 'open';
      button.setAttribute('aria-expanded', String(open));
      if (open) { place(menu, button); ($('[aria-current]', menu) ?? $('[role=menuitem]', menu))?.focus(); }
    });
    menu.addEventListener('keydown', event => {
      const items = $$('[role=menuitem]', menu), i = items.indexOf(document.activeElement);
      const to = { ArrowDown: i + 1, ArrowUp: i - 1, Home: 0, End: items.length - 1 }[event.key];
      if (to !== undefined) { event.preventDefault(); items[(to + items.length) % items.length].focus(); }
      else if (event.key === 'Tab') menu.hidePopover();
      else if (event.key.length === 1) items.find((item, k) => k > i && item.textContent.trim().toLowerCase().startsWith(event.key.toLowerCase()))?.focus();
    });
    menu.addEventListener('click', event => { if (event.target.closest('[role=menuitem]')) menu.hidePopover(); });
  });
}

// ---- charts: drawn from the table behind them; the table is the truth, the picture is its view -----------------------
const pencil = document.body.appendChild(Object.assign(document.createElement('i'), { className: 'sr', ariaHidden: 'true' }));
const color = name => { pencil.style.color = `var(--q-${name})`; return getComputedStyle(pencil).color; };
const drawn = new Map();
const FONT = 'Inter, system-ui, sans-serif';
const series = {
  stacked: (head, data) => ({ type: 'bar', stack: 'a', barWidth: '62%', data, name: head.label, itemStyle: { color: color(head.color) } }),
  bars: (head, data) => ({ type: 'bar', stack: 'a', barWidth: '58%', data, name: head.label, itemStyle: { color: color(head.color) } }),
  lines: (head, data) => ({ type: 'line', data, name: head.label, symbol: 'circle', symbolSize: 5, showSymbol: false, lineStyle: { width: head.dash ? 1.5 : 2, type: head.dash ? 'dashed' : 'solid', color: color(head.color) }, itemStyle: { color: color(head.color) }, ...(head.area ? { areaStyle: { color: color('accent-soft') } } : {}),
    endLabel: { show: true, formatter: point => number(point.value, head.decimals), color: color('ink'), fontWeight: 600, fontSize: 12, fontFamily: FONT } }),
};
function option(box) {
  const table = $(box.dataset.of), kind = box.dataset.chart, unit = box.dataset.unit;
  const heads = $$('thead th[data-color]', table).map(th => ({ label: th.textContent.trim(), color: th.dataset.color, dash: 'dash' in th.dataset, area: 'area' in th.dataset, decimals: Number(th.dataset.dec || 0), i: th.cellIndex }));
  const rows = $$('tbody tr', table), small = { color: color('ink-3'), fontFamily: FONT, fontSize: 11 };
  const value = cell => cell.dataset.v === '' ? null : Number(cell.dataset.v);
  const top = Math.max(0, ...rows.map(row => heads.reduce((sum, head) => sum + (value(row.cells[head.i]) ?? 0), 0)));
  const million = lang === 'fr' ? 'M' : 'm';
  return { animation: false, textStyle: { fontFamily: FONT }, grid: { left: 6, right: kind === 'lines' ? 40 : 4, top: 12, bottom: 6, outerBoundsMode: 'same', outerBoundsContain: 'axisLabel' },
    // Text, not HTML: the policy allows no style attributes, and names in a table are never markup.
    tooltip: { trigger: 'axis', renderMode: 'richText', axisPointer: { type: 'shadow', shadowStyle: { color: color('line'), opacity: .35 } }, backgroundColor: color('overlay'), borderColor: color('line-strong'), borderWidth: 1, padding: [6, 9], textStyle: { color: color('ink'), fontSize: 12, fontFamily: FONT, lineHeight: 17 },
      formatter: points => [points[0].axisValueLabel, ...points.filter(point => point.value != null).map(point => `${point.seriesName}  ${number(point.value, heads[point.seriesIndex].decimals)}`)].join('\n') },
    xAxis: { type: 'category', data: rows.map(row => row.cells[0].textContent.trim()), boundaryGap: kind !== 'lines', axisTick: { show: false }, axisLine: { lineStyle: { color: color('line-strong') } }, axisLabel: { ...small, hideOverlap: true } },
    yAxis: { type: 'value', scale: kind === 'lines', splitNumber: 4, ...(box.dataset.min ? { min: Number(box.dataset.min) } : {}),
      // Above two millions the axis ends at the next half million, without a label there: the picture keeps its height.
      ...(unit === 'm' && top > 2e6 ? { max: Math.ceil(top / 5e5) * 5e5, interval: 1e6 } : {}), splitLine: { lineStyle: { color: color('line') } },
      axisLabel: { ...small, showMaxLabel: !(unit === 'm' && top > 2e6 && Math.ceil(top / 5e5) % 2), formatter: v => unit === 'm' ? `${number(v / 1e6, 1)} ${million}` : unit === 'k' ? `${number(v / 1e3, 0)} k` : number(v, 0) } },
    series: heads.map(head => series[kind](head, rows.map(row => value(row.cells[head.i])))) };
}
async function charts(scope) {
  const boxes = $$('[data-chart]', scope);
  if (!boxes.length) return;
  try { await load('vendor/echarts.min.js'); } catch { // The table stands in for the picture.
    for (const box of boxes) { box.hidden = true; $(box.dataset.of).parentElement.classList.remove('sr'); announce(word('noChart')); }
    return;
  }
  for (const box of boxes) {
    if (drawn.has(box) || !visible(box)) continue;
    const chart = window.echarts.init(box, null, { renderer: 'svg' });
    chart.setOption(option(box));
    // Clicking a part opens its rows: the link stands in the table's cell.
    chart.on('click', point => { const heads = $$('thead th[data-color]', $(box.dataset.of)); $('a', $$('tbody tr', $(box.dataset.of))[point.dataIndex].cells[heads[point.seriesIndex].cellIndex])?.click(); });
    drawn.set(box, chart);
    watcher.observe(box);
  }
}
const watcher = new ResizeObserver(entries => entries.forEach(({ target }) => { const chart = drawn.get(target); if (chart && visible(target)) chart.resize(); }));
document.addEventListener('q:theme', () => drawn.forEach((chart, box) => chart.setOption(option(box), true)));
const forget = () => drawn.forEach((chart, box) => { if (!box.isConnected) { watcher.unobserve(box); chart.dispose(); drawn.delete(box); } });
function toggles(scope) {
  $$('[data-toggle-table]', scope).forEach(button => first(button, 'toggle') && button.addEventListener('click', () => {
    const table = $(button.dataset.toggleTable), hidden = table.classList.toggle('sr');
    if (hidden) table.removeAttribute('tabindex'); else table.tabIndex = 0;
    $$('a', table).forEach(link => { link.tabIndex = hidden ? -1 : 0; });
    button.setAttribute('aria-pressed', String(!hidden));
    $(button.dataset.hide).hidden = !hidden;
    if (hidden) charts(document);
  }));
}

// ---- long jobs: events from the server fill a bar; the browser itself reconnects ---------------------------------------
function jobs(scope) {
  $$('[data-sse]', scope).forEach(box => {
    if (!first(box, 'sse')) return;
    const source = new EventSource(box.dataset.sse), bar = $('[data-sse-bar]', box), figures = $('[data-sse-figures]', box), text = $('[data-sse-text]', box);
    const json = event => { try { return JSON.parse(event.data); } catch { return {}; } };
    const alive = () => box.isConnected || (source.close(), false);
    source.addEventListener('progress', event => {
      if (!alive()) return;
      const { done, total, text: said, leftSeconds: left } = json(event);
      if (bar && total) { bar.max = total; bar.value = done; }
      if (figures && total) figures.textContent = word('of', { done: number(done), total: number(total) }) + (left != null ? ` · ${word('left', { time: left < 60 ? `${number(left)}\u00a0s` : `${number(left / 60)}\u00a0min` })}` : '');
      if (text && said !== undefined && text.textContent !== said) text.textContent = said;
    });
    source.addEventListener('part', event => { if (!alive()) return; const into = $('[data-sse-part]', box) ?? box; into.innerHTML = event.data; window.htmx?.process(into); bind(into); });
    source.addEventListener('done', event => { source.close(); const { href } = json(event); box.dispatchEvent(new CustomEvent('q:done', { bubbles: true })); if (href) location.assign(href); });
    source.addEventListener('failed', event => { source.close(); if (text) { text.textContent = json(event).text || word('lost'); text.classList.add('t-bad'); text.setAttribute('role', 'alert'); } });
  });
}

// ---- toasts last ten seconds, longer under the pointer or the focus ---------------------------------------------------
function toasts(scope) {
  $$('[data-toast]', scope).forEach(toast => {
    if (!first(toast, 'toast')) return;
    const away = () => { if (toast.matches(':hover, :focus-within')) setTimeout(away, 2000); else toast.remove(); };
    setTimeout(away, 10000);
    $('[data-dismiss]', toast)?.addEventListener('click', () => toast.remove());
  });
}

// ---- htmx ---------------------------------------------------------------------------------------------------------------
function fault(text) {
  const place = $('#page-banners');
  if (!place) return;
  const box = Object.assign(document.createElement('div'), { className: 'banner bad' }), said = document.createElement('span');
  said.className = 'grow'; said.textContent = text; box.setAttribute('role', 'alert'); box.append(said);
  place.replaceChildren(box); place.scrollIntoView({ block: 'nearest' });
}
document.addEventListener('htmx:response:error', event => {
  queued = '';
  const { raw, headers } = event.detail.ctx.response ?? {}, status = raw?.status ?? 0;
  if (status === 422 || status === 404 || status === 400) return; // Swapped in: the form with its errors.
  let said = headers?.get?.('X-Message') ?? '';
  try { said = decodeURIComponent(said); } catch { said = ''; }
  fault(said || word(status === 401 ? 'signIn' : status >= 500 ? 'lost' : 'refused'));
});
document.addEventListener('htmx:error', () => { queued = ''; fault(word('lost')); });
document.addEventListener('htmx:before:request', event => event.target.setAttribute?.('aria-busy', 'true'));
document.addEventListener('htmx:finally:request', event => event.target.removeAttribute?.('aria-busy'));
for (const name of ['htmx:after:settle', 'htmx:after:swap', 'htmx:after:process']) document.addEventListener(name, event => { forget(); bind(event.target.isConnected === false ? document : event.target.nodeType === 1 ? event.target : document); });
document.addEventListener('htmx:after:swap', () => bind(document));

function bind(scope) {
  for (const part of [appearance, lists, keySwitch, dialogs, menus, toggles, jobs, toasts, totals, copies, codes, dates, drops, onces]) part(scope);
  charts(scope);
  $$('[data-focus]', scope).forEach(element => first(element, 'focus') && element.focus());
}
bind(document);
root.dataset.ready = '';
