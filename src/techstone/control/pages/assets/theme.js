// Before the first paint, so that a page does not flash in the other theme.
try {
  const theme = localStorage.getItem("techstone-theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch { /* the system's */ }
