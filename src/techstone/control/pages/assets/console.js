// The Console's small behaviours. Every page works without; nothing is fetched from elsewhere.

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copy).textContent.trim();
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return; // plain HTTP to another machine has no clipboard
  }
  const label = button.textContent;
  button.textContent = "Copied";
  button.dataset.done = "";
  setTimeout(() => { button.textContent = label; delete button.dataset.done; }, 1500);
});

// A destructive form asks once.
document.addEventListener("submit", (event) => {
  const question = event.target.dataset.ask;
  if (question && !confirm(question)) event.preventDefault();
});

// A menu closes when something else is clicked, and by Escape.
for (const menu of document.querySelectorAll("details.me")) {
  document.addEventListener("click", ({ target }) => { if (!menu.contains(target)) menu.open = false; });
  menu.addEventListener("keydown", ({ key }) => { if (key === "Escape") { menu.open = false; menu.querySelector("summary").focus(); } });
}

// Tabs of one block; the choice is remembered.
const LANGUAGE = "techstone-language";
for (const tabs of document.querySelectorAll(".tabs")) {
  const buttons = [...tabs.querySelectorAll("[role=tab]")];
  const choose = (name) => {
    for (const button of buttons) {
      const chosen = button.dataset.language === name;
      button.setAttribute("aria-selected", chosen);
      button.tabIndex = chosen ? 0 : -1;
      document.getElementById(button.getAttribute("aria-controls")).hidden = !chosen;
    }
  };
  tabs.addEventListener("click", ({ target }) => {
    if (!target.dataset.language) return;
    choose(target.dataset.language);
    try { localStorage.setItem(LANGUAGE, target.dataset.language); } catch { /* forgotten */ }
  });
  tabs.addEventListener("keydown", ({ key, target }) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (!step || !target.dataset.language) return;
    const next = buttons[(buttons.indexOf(target) + step + buttons.length) % buttons.length];
    choose(next.dataset.language);
    next.focus();
  });
  let kept = null;
  try { kept = localStorage.getItem(LANGUAGE); } catch { /* the first */ }
  choose(buttons.some(({ dataset }) => dataset.language === kept) ? kept : buttons[0].dataset.language);
}

// What does not scroll is no stop on the way of the Tab key.
const stops = new ResizeObserver((frames) => {
  for (const { target } of frames) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
document.querySelectorAll(".scroll, .code pre").forEach((frame) => stops.observe(frame));

// A page that waits for something asks for itself again and takes the new part, until nothing waits.
const waits = () => document.querySelector("[data-follow]");
const follow = async () => {
  const part = waits();
  if (!part) return;
  try {
    const answer = await fetch(part.dataset.from ?? location.href, { headers: { accept: "text/html" } });
    if (answer.redirected) { location.assign(answer.url); return; }
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(part.id);
    if (fresh && fresh.innerHTML !== part.innerHTML) part.replaceWith(fresh);
  } catch { /* the next one may work */ }
  setTimeout(follow, 1000 * (Number(waits()?.dataset.follow) || 2));
};
if (waits()) setTimeout(follow, 1500);
