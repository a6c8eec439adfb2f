// The command palette: Ctrl K or Cmd K, or its button. A combobox whose list comes from /console/palette, which knows
// what the role may see. What is chosen is a link, a form of the page, or a button of it.

const WAIT = 120; // ms after the last letter
const button = document.querySelector("[data-palette]");
const mac = /Mac|iPhone|iPad/.test(navigator.platform);

const dialog = document.createElement("dialog");
dialog.className = "palette";
dialog.setAttribute("aria-label", "Search");
dialog.innerHTML = `<input type="text" role="combobox" aria-label="Search pages, keys, models and requests" aria-expanded="true"
aria-controls="palette-list" aria-autocomplete="list" autocomplete="off" spellcheck="false" placeholder="A page, key, model, request or action">
<div id="palette-list" role="listbox" aria-label="Found"></div><p role="status"></p>`;
const [input, list, note] = dialog.children;

let found = [];
let chosen = 0;
let timer = 0;
let asked = null;

const choose = (place) => {
  const options = list.querySelectorAll("[role=option]");
  if (!options.length) { input.removeAttribute("aria-activedescendant"); return; }
  chosen = (place + options.length) % options.length;
  options.forEach((option, number) => option.setAttribute("aria-selected", number === chosen));
  input.setAttribute("aria-activedescendant", options[chosen].id);
  options[chosen].scrollIntoView({ block: "nearest" });
};

const make = (tag, className, text = "") => Object.assign(document.createElement(tag), { className, textContent: text });

const show = (items) => {
  found = items;
  list.replaceChildren();
  let group = null;
  items.forEach((item, number) => {
    if (group?.dataset.name !== item.group) {
      group = make("div", "group");
      group.dataset.name = item.group;
      group.setAttribute("role", "group");
      const title = make("span", "title", item.group);
      title.id = `palette-group-${number}`;
      group.setAttribute("aria-labelledby", title.id);
      group.append(title);
      list.append(group);
    }
    const option = make("div", "option");
    option.id = `palette-${number}`;
    option.setAttribute("role", "option");
    option.dataset.place = number;
    option.append(make("span", "", item.label));
    if (item.hint) option.append(make("small", "", item.hint));
    group.append(option);
  });
  note.textContent = items.length ? "" : "Nothing of that name. A request is found by its whole id.";
  choose(0);
};

const look = async () => {
  asked?.abort();
  asked = new AbortController();
  const words = input.value.trim();
  try {
    const answer = await fetch(`/console/palette?find=${encodeURIComponent(words)}`, { signal: asked.signal, headers: { accept: "application/json" } });
    if (answer.redirected) { location.assign(answer.url); return; } // the session has ended
    if (!answer.ok) throw new Error();
    const items = await answer.json();
    if (words === input.value.trim()) show(items);
  } catch (error) {
    if (error.name !== "AbortError") { show([]); note.textContent = "The search cannot be reached. Try again in a moment."; }
  }
};

const go = (place) => {
  const item = found[place];
  if (!item) return;
  if (item.href) { location.assign(item.href); return; }
  dialog.close();
  if (item.form) document.querySelector(`form[action="${item.form}"]`)?.requestSubmit();
  if (item.press) document.querySelector(`[data-${item.press}]`)?.click();
};

const open = () => {
  if (dialog.open) return;
  input.value = "";
  dialog.showModal();
  look();
};

input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(look, WAIT); });
input.addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) choose(chosen + step);
  else if (event.key === "Enter") go(chosen);
  else return;
  event.preventDefault();
});
list.addEventListener("click", ({ target }) => { const option = target.closest("[data-place]"); if (option) go(Number(option.dataset.place)); });
list.addEventListener("pointermove", ({ target }) => { const option = target.closest("[data-place]"); if (option && Number(option.dataset.place) !== chosen) choose(Number(option.dataset.place)); });
dialog.addEventListener("click", ({ target }) => { if (target === dialog) dialog.close(); });
document.body.append(dialog);

if (button) {
  button.addEventListener("click", open);
  if (mac) button.querySelector("kbd").textContent = "⌘ K";
}
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() === "k" && (mac ? event.metaKey : event.ctrlKey) && !event.altKey && !event.shiftKey) { event.preventDefault(); open(); }
});
