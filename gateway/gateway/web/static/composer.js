// The e-mail editor: text with hashtags over a plain textarea (the form's own field), a preview and checks that follow.
(() => {
  const form = document.getElementById('composer');
  if (!form) return;
  const source = form.querySelector('[data-editor-source]');
  const editor = form.querySelector('[data-editor]');
  const subject = form.querySelector('[name=subject]');
  const palette = form.querySelector('[data-palette]');
  const tags = [...palette.querySelectorAll('[data-insert]')];
  const all = palette.querySelector('[data-all-tags]');
  const checks = document.getElementById('checks');
  const boxes = [...document.querySelectorAll('input[name="item"][form="composer"]')];
  const frame = document.querySelector(`iframe[name="${form.dataset.previewTarget}"]`);
  const button = document.querySelector('[data-preview-button]');
  const PREVIEW_DELAY_MS = 700;
  const known = new Set(tags.map(tag => tag.dataset.insert));
  const TAG = /#[a-z][a-z_]*(?:[+-]\d+)?/g;
  let timer = 0;
  let last = editor;
  let asked = 0;

  // A hashtag is one piece in the editor and plain text in the field.
  const piece = name => {
    const span = document.createElement('span');
    span.className = 'hashtag'; span.contentEditable = 'false'; span.textContent = name;
    return span;
  };
  const mark = () => {
    const walker = document.createTreeWalker(editor, NodeFilter.SHOW_TEXT);
    const texts = [];
    while (walker.nextNode()) if (!walker.currentNode.parentElement.closest('.hashtag')) texts.push(walker.currentNode);
    for (const text of texts) {
      const found = [...text.data.matchAll(TAG)].filter(match => known.has(match[0].replace(/[+-]\d+$/, '')));
      for (const match of found.reverse()) {
        const rest = text.splitText(match.index);
        rest.splitText(match[0].length);
        rest.replaceWith(piece(match[0]));
      }
    }
  };
  const keep = () => {
    const copy = editor.cloneNode(true);
    for (const span of copy.querySelectorAll('.hashtag')) {
      // What is written right behind a hashtag would become a part of its name.
      const glued = /^[\w+-]/.test(span.nextSibling?.textContent ?? '');
      span.replaceWith(span.textContent + (glued ? ' ' : ''));
    }
    source.value = copy.innerHTML;
  };

  const fields = () => {
    keep();
    const data = new FormData();
    for (const name of ['csrf_token', 'subject', 'body', 'ticks']) data.set(name, form.elements[name] ? form.elements[name].value : '');
    for (const box of boxes) if (box.checked) data.append('item', box.value);
    return data;
  };
  const check = async data => {
    const mine = ++asked;
    const answer = await fetch(`${form.dataset.preview}?part=checks`, { method: 'POST', body: data });
    if (answer.ok && mine === asked) checks.innerHTML = await answer.text();
  };
  const show = () => {
    // The form is sent into the frame; the page itself stays.
    const data = fields();
    const into = document.createElement('form');
    into.method = 'post'; into.action = form.dataset.preview; into.target = form.dataset.previewTarget; into.hidden = true;
    for (const [name, value] of data) {
      const field = document.createElement('textarea');
      field.name = name; field.value = value;
      into.append(field);
    }
    document.body.append(into); into.submit(); into.remove();
    check(data);
  };
  const preview = () => {
    keep();
    clearTimeout(timer);
    timer = setTimeout(show, PREVIEW_DELAY_MS);
  };

  // What stands before the caret from a # on, while it is being typed.
  const typed = () => {
    if (document.activeElement === subject) {
      const match = /#[a-z_]*$/.exec(subject.value.slice(0, subject.selectionStart));
      return match ? match[0] : '';
    }
    const at = getSelection();
    if (!at.rangeCount || at.anchorNode?.nodeType !== Node.TEXT_NODE || !editor.contains(at.anchorNode)) return '';
    const match = /#[a-z_]*$/.exec(at.anchorNode.data.slice(0, at.anchorOffset));
    return match ? match[0] : '';
  };
  let open = false;
  const offer = () => {
    const start = typed();
    for (const tag of tags) tag.hidden = start ? !tag.dataset.insert.startsWith(start) : !open && 'more' in tag.dataset;
    if (start && tags.every(tag => tag.hidden)) for (const tag of tags) tag.hidden = 'more' in tag.dataset;
  };
  const insert = name => {
    if (last === subject) {
      const caret = subject.selectionStart;
      const start = /#[a-z_]*$/.exec(subject.value.slice(0, caret));
      subject.setRangeText(name, start ? start.index : caret, subject.selectionEnd, 'end');
      subject.focus();
    } else {
      editor.focus();
      const start = typed();
      const at = getSelection();
      for (let step = 0; step < start.length; step += 1) at.modify('extend', 'backward', 'character');
      document.execCommand('insertText', false, `${name} `);
      mark();
    }
    offer();
    preview();
  };

  editor.contentEditable = 'true';
  editor.hidden = false;
  source.hidden = true;
  all.hidden = false;
  mark();

  for (const box of boxes) box.addEventListener('change', preview);
  // A subject is one line, however many it takes to be seen whole.
  subject.addEventListener('keydown', event => { if (event.key === 'Enter' && !event.ctrlKey && !event.metaKey) event.preventDefault(); });
  subject.addEventListener('input', () => { if (/[\r\n]/.test(subject.value)) subject.value = subject.value.replace(/[\r\n]+/g, ' '); });
  editor.addEventListener('input', () => { offer(); preview(); });
  editor.addEventListener('blur', mark);
  editor.addEventListener('focus', () => { last = editor; });
  subject.addEventListener('input', () => { offer(); preview(); });
  subject.addEventListener('focus', () => { last = subject; });
  for (const place of [editor, subject]) {
    place.addEventListener('keydown', event => {
      // Tab takes the first hashtag that fits what was typed; without a # it leaves as everywhere.
      const start = event.key === 'Tab' && !event.shiftKey ? typed() : '';
      const first = start.length > 1 ? tags.find(tag => !tag.hidden && tag.dataset.insert.startsWith(start)) : null;
      if (first && first.dataset.insert !== start) { event.preventDefault(); insert(first.dataset.insert); }
    });
  }
  editor.addEventListener('paste', event => {
    event.preventDefault();
    document.execCommand('insertText', false, event.clipboardData.getData('text/plain'));
  });
  form.addEventListener('submit', keep);
  if (button) button.addEventListener('click', keep);
  for (const tag of tags) {
    tag.addEventListener('mousedown', event => event.preventDefault());
    tag.addEventListener('click', () => insert(tag.dataset.insert));
  }
  all.addEventListener('click', () => {
    open = !open;
    all.setAttribute('aria-expanded', String(open));
    offer();
  });
  const format = form.querySelector('[data-format]');
  format.hidden = false;
  for (const one of format.querySelectorAll('[data-command]')) {
    one.addEventListener('mousedown', event => event.preventDefault());
    one.addEventListener('click', () => { editor.focus(); document.execCommand(one.dataset.command); preview(); });
  }
  const widths = document.querySelector('[data-widths]');
  if (widths && frame) {
    widths.hidden = false;
    for (const one of widths.querySelectorAll('[data-width]')) {
      one.addEventListener('click', () => {
        frame.classList.toggle('phone', one.dataset.width === 'phone');
        for (const each of widths.querySelectorAll('[data-width]')) each.setAttribute('aria-pressed', String(each === one));
      });
    }
  }
})();
