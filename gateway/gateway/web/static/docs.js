// Reads openapi.json and shows every call with a form to try it. No library, no inline code; texts come from the page.
const place = document.getElementById('calls'), words = place.dataset, keyField = document.getElementById('key');
const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (name in element && name !== 'list') element[name] = value; else element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
};
const newId = () => crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, '0')).join('');

// The key stays in this tab: it is gone when the tab is.
keyField.value = sessionStorage.getItem('quittance-key') ?? '';
keyField.addEventListener('input', () => sessionStorage.setItem('quittance-key', keyField.value.trim()));
document.getElementById('key-form').addEventListener('submit', event => event.preventDefault());

let schemas = {};
const resolve = schema => schema?.$ref ? schemas[schema.$ref.split('/').pop()] ?? {} : schema ?? {};
const nameOf = schema => {
  if (schema?.$ref) return schema.$ref.split('/').pop();
  if (schema?.type === 'array') return nameOf(schema.items) + '[]';
  if (schema?.additionalProperties && typeof schema.additionalProperties === 'object') return 'map<' + nameOf(schema.additionalProperties) + '>';
  return schema?.format ?? schema?.type ?? '';
};
const limits = schema => ['minLength', 'maxLength', 'minimum', 'maximum', 'minItems', 'maxItems', 'pattern'].filter(name => schema[name] !== undefined).map(name => `${name} ${schema[name]}`).join(', ');

function example(schema, depth = 0) {
  const found = resolve(schema);
  if (found.examples) return found.examples[0];
  if (found.enum) return found.enum.find(value => value !== 'UNSPECIFIED') ?? '';
  if (found.type === 'array') return depth > 2 ? [] : [example(found.items, depth + 1)];
  if (found.type === 'object') {
    const required = new Set(found.required ?? Object.keys(found.properties ?? {}));
    return depth > 3 ? {} : Object.fromEntries(Object.entries(found.properties ?? {}).filter(([name]) => required.has(name)).map(([name, inner]) => [name, example(inner, depth + 1)]));
  }
  if (found.type === 'boolean') return false;
  if (found.type === 'integer' || found.type === 'number') return found.minimum ?? 0;
  if (found.format === 'date') return new Date().toISOString().slice(0, 10);
  return found.format === 'uuid' ? '00000000-0000-0000-0000-000000000000' : '';
}

function rows(properties, required = []) {
  return Object.entries(properties ?? {}).map(([name, schema]) => {
    const found = resolve(schema), said = [nameOf(schema), required.includes(name) ? words.required : '', limits(found), found.enum ? found.enum.join(' | ') : ''].filter(Boolean).join(' · ');
    return make('tr', {}, make('td', {}, make('code', { textContent: name })), make('td', {}, make('div', { textContent: schema.description ?? '' }), make('div', { className: 'soft', textContent: said })));
  });
}
const table = (caption, body) => body.length ? make('div', {}, make('h3', { textContent: caption }), make('table', {}, make('tbody', {}, ...body))) : null;

function field(parameter) {
  const schema = resolve(parameter.schema), label = `${parameter.name} (${parameter.in})`;
  const value = parameter.name === 'Idempotency-Key' ? newId() : '';
  const input = schema.enum
    ? make('select', {}, make('option', { value: '', textContent: '' }), ...schema.enum.filter(each => each !== 'UNSPECIFIED').map(each => make('option', { value: each, textContent: each })))
    : make('input', { type: 'text', value, autocomplete: 'off' });
  input.setAttribute('aria-label', label);
  input.dataset.name = parameter.name; input.dataset.in = parameter.in;
  const said = [nameOf(parameter.schema), parameter.required ? words.required : '', limits(schema)].filter(Boolean).join(' · ');
  return make('tr', {}, make('td', {}, make('code', { textContent: parameter.name }), make('div', { className: 'soft', textContent: said })), make('td', {}, input, make('div', { className: 'soft', textContent: parameter.description ?? '' })));
}

function tryForm(verb, path, operation) {
  const content = operation.requestBody?.content ?? {}, json = content['application/json'], form = content['multipart/form-data'];
  const inputs = (operation.parameters ?? []).map(field), out = make('div', { 'aria-live': 'polite' });
  const body = json ? make('textarea', { value: JSON.stringify(example(json.schema), null, 2), spellcheck: false, 'aria-label': words.body }) : null;
  const parts = form ? Object.entries(form.schema.properties).map(([name, schema]) => {
    const input = name === 'file' ? make('input', { type: 'file' }) : make('input', { type: 'text', value: schema.default ?? '' });
    input.dataset.part = name; input.setAttribute('aria-label', name);
    return make('tr', {}, make('td', {}, make('code', { textContent: name })), make('td', {}, input, make('div', { className: 'soft', textContent: schema.description ?? '' })));
  }) : [];
  const element = make('form', {}, table(words.parameters, [...inputs, ...parts]), body && make('h3', { textContent: words.body }), body, make('button', { type: 'submit', className: 'primary', textContent: words.send }));
  element.className = 'try';
  element.addEventListener('submit', async event => {
    event.preventDefault();
    let target = path;
    const query = new URLSearchParams(), headers = {};
    if (keyField.value.trim()) headers.Authorization = `Bearer ${keyField.value.trim()}`;
    for (const input of element.querySelectorAll('[data-in]')) {
      const value = input.value.trim();
      if (input.dataset.in === 'path') target = target.replace(`{${input.dataset.name}}`, encodeURIComponent(value || '-'));
      else if (value && input.dataset.in === 'query') query.append(input.dataset.name, value);
      else if (value) headers[input.dataset.name] = value;
    }
    let sent;
    if (body) { sent = body.value; headers['Content-Type'] = 'application/json'; }
    if (form) {
      sent = new FormData();
      for (const input of element.querySelectorAll('[data-part]')) if (input.files ? input.files.length : input.value) sent.append(input.dataset.part, input.files ? input.files[0] : input.value);
    }
    const address = target + (query.size ? `?${query}` : '');
    out.replaceChildren(make('p', { className: 'soft', textContent: words.sending }));
    try {
      const started = performance.now(), answer = await fetch(address, { method: verb.toUpperCase(), headers, body: sent, credentials: 'omit' });
      let text = await answer.text();
      try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* Not JSON: shown as it came. */ }
      out.replaceChildren(make('h3', { textContent: words.answer }), make('p', { className: answer.ok ? 'soft' : 'bad', textContent: `${answer.status} ${answer.statusText} · ${Math.round(performance.now() - started)} ms · ${verb.toUpperCase()} ${address}` }), make('pre', { tabIndex: 0, textContent: text }));
    } catch { out.replaceChildren(make('p', { className: 'bad', textContent: words.unreachable })); }
    for (const input of element.querySelectorAll('[data-name="Idempotency-Key"]')) input.value = newId();
  });
  return make('div', {}, element, out);
}

function call(verb, path, operation) {
  const head = make('summary', {}, make('span', { className: 'verb', textContent: verb.toUpperCase() }), make('span', { className: 'path', textContent: path }), make('span', { className: 'soft', textContent: operation.summary ?? '' }));
  const box = make('details', { id: operation.operationId }, head);
  box.dataset.text = `${verb} ${path} ${operation.summary} ${operation.operationId}`.toLowerCase();
  box.addEventListener('toggle', () => {
    if (!box.open || box.children.length > 1) return;
    const success = operation.responses['200'] ?? operation.responses['202'], schema = resolve(success?.content?.['application/json']?.schema);
    const about = [operation['x-permission'] && `${words.needs}: ${operation['x-permission']}`, operation['x-refusals']?.length && `${words.refusals}: ${operation['x-refusals'].join(', ')}`].filter(Boolean).join(' · ');
    const input = resolve(operation.requestBody?.content?.['application/json']?.schema);
    box.append(make('div', {}, make('p', { className: 'pre', textContent: operation.description ?? '' }), make('p', { className: 'soft', textContent: about }),
      table(words.body, rows(input.properties, input.required)), table(words.fields, rows(schema.properties, schema.required)), make('h3', { textContent: words.try }), tryForm(verb, path, operation)));
  });
  return box;
}

place.textContent = words.loading;
try {
  const answer = await fetch('/openapi.json');
  if (!answer.ok) throw new Error(String(answer.status));
  const document_ = await answer.json(), groups = new Map(document_.tags.map(tag => [tag.name, []]));
  schemas = document_.components.schemas;
  for (const [path, operations] of Object.entries(document_.paths)) for (const [verb, operation] of Object.entries(operations)) groups.get(operation.tags[0])?.push(call(verb, path, operation));
  place.replaceChildren(make('h2', { textContent: words.intro }), make('p', { className: 'pre', textContent: document_.info.description }));
  for (const tag of document_.tags) place.append(make('section', {}, make('h2', { textContent: tag.name }), make('p', { className: 'soft', textContent: tag.description }), ...groups.get(tag.name)));
  const opened = location.hash && document.getElementById(location.hash.slice(1));
  if (opened) { opened.open = true; opened.scrollIntoView(); }
  document.getElementById('find').addEventListener('input', event => {
    const wanted = event.target.value.trim().toLowerCase();
    for (const box of place.querySelectorAll('details')) box.hidden = !box.dataset.text.includes(wanted);
    for (const section of place.querySelectorAll('section')) section.hidden = !section.querySelector('details:not([hidden])');
  });
} catch { place.textContent = words.failed; }
