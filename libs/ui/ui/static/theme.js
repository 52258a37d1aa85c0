// Runs before the first paint: the chosen appearance, else the system's. The server writes it when the cookie is there.
(() => {
  const root = document.documentElement;
  if ('chosen' in root.dataset) return;
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const follow = () => { if (!('chosen' in root.dataset)) { root.dataset.bsTheme = dark.matches ? 'dark' : 'light'; document.dispatchEvent(new Event('q:theme')); } };
  follow();
  dark.addEventListener('change', follow);
})();
