// The e-mail editor: text with hashtags over a plain textarea (the form's own field), and a preview that follows.
(() => {
  const form = document.getElementById('composer');
  if (!form) return;
  const source = form.querySelector('[data-editor-source]');
  const editor = form.querySelector('[data-editor]');
  const subject = form.querySelector('[name=subject]');
  const button = document.querySelector('[data-preview-button]');
  const PREVIEW_DELAY_MS = 700;
  let timer = 0;
  let last = editor;

  editor.contentEditable = 'true';
  editor.hidden = false;
  source.hidden = true;

  const keep = () => { source.value = editor.innerHTML; };
  const preview = () => {
    keep();
    clearTimeout(timer);
    // The form is sent into the frame; the page itself stays.
    timer = setTimeout(() => {
      const into = document.createElement('form');
      into.method = 'post'; into.action = form.dataset.preview; into.target = form.dataset.previewTarget; into.hidden = true;
      for (const name of ['csrf_token', 'subject', 'body']) {
        const field = document.createElement('textarea');
        field.name = name; field.value = form.elements[name] ? form.elements[name].value : '';
        into.append(field);
      }
      document.body.append(into); into.submit(); into.remove();
    }, PREVIEW_DELAY_MS);
  };

  editor.addEventListener('input', preview);
  editor.addEventListener('focus', () => { last = editor; });
  subject.addEventListener('input', preview);
  subject.addEventListener('focus', () => { last = subject; });
  editor.addEventListener('paste', (event) => {
    event.preventDefault();
    document.execCommand('insertText', false, event.clipboardData.getData('text/plain'));
  });
  form.addEventListener('submit', keep);
  if (button) button.addEventListener('click', keep);
  for (const tag of form.querySelectorAll('[data-insert]')) {
    tag.addEventListener('click', () => {
      if (last === subject) {
        subject.setRangeText(tag.dataset.insert, subject.selectionStart, subject.selectionEnd, 'end');
        subject.focus();
      } else {
        editor.focus();
        document.execCommand('insertText', false, tag.dataset.insert);
      }
      preview();
    });
  }
})();
