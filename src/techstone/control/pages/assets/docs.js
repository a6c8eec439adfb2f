// Copy buttons, tabs that remember, and search. Without this script a page is whole: every block is shown.

const own = document.querySelector("script[data-search]");
const LANGUAGE = "techstone-docs-language";

function remember(name, value) {
  try { localStorage.setItem(name, value); } catch { /* a browser that keeps nothing forgets */ }
}

function recall(name) {
  try { return localStorage.getItem(name); } catch { return null; }
}

function addCopy(figure) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(figure.querySelector("code").textContent.trimEnd()); // else a shell would run it
    button.textContent = "Copied";
    button.dataset.done = "";
    setTimeout(() => { button.textContent = "Copy"; delete button.dataset.done; }, 1500);
  });
  figure.append(button);
}

let tabCount = 0;

function makeTabs(group) {
  const figures = [...group.querySelectorAll(".code")];
  const list = document.createElement("div");
  list.className = "tablist";
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", "Language");
  const buttons = figures.map((figure) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("role", "tab");
    button.textContent = figure.querySelector("figcaption").textContent;
    button.dataset.language = figure.dataset.language;
    const panel = document.createElement("div");
    panel.className = "panel";
    panel.id = `panel-${tabCount += 1}`;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-label", button.textContent);
    figure.replaceWith(panel);
    panel.append(figure);
    button.setAttribute("aria-controls", panel.id);
    button.addEventListener("click", () => {
      remember(LANGUAGE, figure.dataset.language);
      const place = button.getBoundingClientRect().top;
      showLanguage(figure.dataset.language);
      scrollBy(0, button.getBoundingClientRect().top - place);
    });
    list.append(button);
    return button;
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = buttons[(buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length];
    next.click();
    next.focus();
  });
  group.prepend(list);
  group.dataset.live = "";
}

function showLanguage(language) {
  for (const group of document.querySelectorAll(".tabs")) {
    const figures = [...group.querySelectorAll(".code")];
    const shown = figures.find((figure) => figure.dataset.language === language) ?? figures[0];
    for (const figure of figures) figure.parentElement.hidden = figure !== shown;
    for (const button of group.querySelectorAll("[role=tab]")) {
      const selected = button.dataset.language === shown.dataset.language;
      button.setAttribute("aria-selected", String(selected));
      button.tabIndex = selected ? 0 : -1;
    }
  }
}

// What does not scroll is no stop on the way of the Tab key.
const stops = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});

let index = null;

async function loadIndex() {
  const [{ default: MiniSearch }, answer] = await Promise.all([import(own.dataset.minisearch), fetch(own.dataset.search)]);
  const sections = await answer.json();
  const found = new MiniSearch({
    fields: ["title", "page", "text"],
    storeFields: ["url", "page", "title", "text"],
    tokenize: (text) => text.toLowerCase().split(/[^\p{L}\p{N}_]+/u).filter(Boolean),
    searchOptions: { boost: { title: 4, page: 2 }, prefix: true, fuzzy: 0.2 },
  });
  found.addAll(sections);
  return found;
}

function excerpt(text, terms) {
  const lower = text.toLowerCase();
  const places = terms.map((term) => lower.indexOf(term)).filter((place) => place >= 0);
  const at = places.length ? Math.min(...places) - 40 : 0;
  const start = at > 0 ? text.indexOf(" ", at) + 1 : 0; // a whole word is the first
  return (start ? "… " : "") + text.slice(start, start + 160);
}

function openFinder(dialog) {
  index ??= loadIndex();
  dialog.showModal();
  dialog.querySelector("input").select();
}

// Who may use the playground can have the question answered; it is sent there, not here.
function offerGuide(dialog, words) {
  const { guide } = dialog.dataset;
  const offer = dialog.querySelector(".guide");
  offer.hidden = !guide || !words;
  if (offer.hidden) return;
  const link = offer.querySelector("a");
  link.href = `/console/playground?${new URLSearchParams({ model: guide, say: words })}`;
  link.textContent = `Ask ${guide}: ${words}`;
}

async function search(dialog) {
  const words = dialog.querySelector("input").value.trim();
  const list = dialog.querySelector("ol");
  const results = words ? (await index).search(words).slice(0, 12) : [];
  list.replaceChildren(...results.map((result) => {
    const link = document.createElement("a");
    link.href = result.url;
    const title = document.createElement("strong");
    title.textContent = result.title === result.page ? result.page : `${result.page} › ${result.title}`;
    const text = document.createElement("span");
    text.textContent = excerpt(result.text, result.terms);
    link.append(title, text);
    const item = document.createElement("li");
    item.append(link);
    return item;
  }));
  if (words && !results.length) {
    const item = document.createElement("li");
    item.textContent = `Nothing found for “${words}”. Try an error code, a header or a parameter.`;
    list.append(item);
  }
  offerGuide(dialog, words);
}

function moveInFinder(dialog, event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const links = [...dialog.querySelectorAll(":not([hidden]) > a")];
  if (step && links.length) {
    const place = links.indexOf(document.activeElement) + step;
    (links[place] ?? dialog.querySelector("input")).focus();
    event.preventDefault();
  } else if (event.key === "Enter" && document.activeElement.tagName === "INPUT" && links.length) {
    links[0].click();
    dialog.close();
  } else if (event.key === "Escape") { // which would only empty the field
    event.preventDefault();
    dialog.close();
  }
}

if (navigator.clipboard) document.querySelectorAll(".code").forEach(addCopy); // only where the page came safely
document.querySelectorAll(".tabs").forEach(makeTabs);
showLanguage(recall(LANGUAGE) ?? "bash");
document.querySelectorAll(".scroll, .code pre").forEach((frame) => stops.observe(frame));
if (matchMedia("(max-width: 1023px)").matches) document.querySelector(".contents").open = false;

const finder = document.querySelector(".finder");
const opener = document.querySelector("[data-open-search]");
opener.hidden = false;
opener.addEventListener("click", () => openFinder(finder));
finder.querySelector("input").addEventListener("input", () => search(finder));
finder.addEventListener("keydown", (event) => moveInFinder(finder, event));
finder.addEventListener("click", (event) => { if (event.target === finder || event.target.closest("a")) finder.close(); });
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if ((event.key === "/" && !typing) || (event.key === "k" && (event.metaKey || event.ctrlKey))) {
    event.preventDefault();
    openFinder(finder);
  }
});
