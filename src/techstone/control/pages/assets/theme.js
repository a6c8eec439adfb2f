// The theme: set before the first paint, so that a page does not flash in the other one, and switched by a button.
{
  const THEME = "techstone-theme";
  const root = document.documentElement;

  try {
    const kept = localStorage.getItem(THEME);
    if (kept) root.dataset.theme = kept;
  } catch { /* the system's */ }

  const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("[data-theme-switch]");
    if (!button) return;
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      try { localStorage.setItem(THEME, root.dataset.theme); } catch { /* a browser that keeps nothing forgets */ }
    });
  });
}
