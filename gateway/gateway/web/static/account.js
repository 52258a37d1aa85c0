// Account sheet: the dialogs of the ticked items are forms of their own; what is ticked goes with them.
const ticked = () => [...document.querySelectorAll('#items input[name="item"]:checked')];

for (const form of document.querySelectorAll('form[data-ticked]')) {
  form.addEventListener('submit', event => {
    form.querySelectorAll('input[name="item"]').forEach(input => input.remove());
    for (const box of ticked()) {
      const input = Object.assign(document.createElement('input'), { type: 'hidden', name: 'item', value: box.value });
      form.append(input);
    }
    if (!ticked().length) event.preventDefault();
  });
  const dialog = form.closest('dialog');
  const show = () => {
    const none = !ticked().length;
    dialog.querySelector('[data-none]').hidden = !none;
    dialog.querySelectorAll('[data-some]').forEach(part => { part.hidden = none; });
    dialog.querySelector('[data-n]').textContent = ticked().length;
    dialog.querySelector('footer [type="submit"]').hidden = none;
  };
  for (const opener of document.querySelectorAll(`[data-dialog="#${dialog.id}"]`)) opener.addEventListener('click', show, { capture: true });
}
