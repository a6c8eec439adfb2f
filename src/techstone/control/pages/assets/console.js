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

// What has just happened, in a corner, for a while. Other scripts send the event.
const TOLD = 6000;
const tell = (toast) => setTimeout(() => toast.remove(), TOLD);
document.querySelectorAll(".toasts .toast").forEach(tell);
document.addEventListener("toast", ({ detail }) => {
  const toast = Object.assign(document.createElement("p"), { className: "toast", textContent: detail.text });
  if (detail.kind) toast.dataset.kind = detail.kind;
  document.querySelector(".toasts")?.append(toast);
  tell(toast);
});

// A destructive form asks once. The question is the first sentence, what follows from a yes the rest.
const ask = (form, button, words) => {
  const [, question, rest = ""] = words.match(/^(.*?[?.])(?:\s+(.*))?$/s) ?? [null, words];
  const dialog = document.createElement("dialog");
  dialog.className = "dialog";
  dialog.setAttribute("aria-labelledby", "ask-title");
  dialog.innerHTML = `<form method="dialog"><div class="bar"><h2 id="ask-title"></h2></div><p></p><div class="buttons">
<button class="button" value="">Cancel</button><button class="button danger" value="yes"></button></div></form>`;
  dialog.querySelector("h2").textContent = question;
  dialog.querySelector("p").textContent = rest;
  dialog.querySelector("[value=yes]").textContent = button?.textContent.trim() || "Yes";
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (dialog.returnValue !== "yes") { button?.focus(); return; }
    form.dataset.asked = "";
    form.requestSubmit(button);
  });
  document.body.append(dialog);
  dialog.showModal();
};
document.addEventListener("submit", (event) => {
  const { target: form, submitter } = event;
  const words = submitter?.dataset.ask ?? form.dataset.ask; // a button's own, where a form has several
  if (words && form.dataset.asked === undefined) {
    event.preventDefault();
    ask(form, submitter, words);
    return;
  }
  if (form.method === "post" && !event.defaultPrevented) submitter?.setAttribute("aria-busy", "true");
});
// What a tab keeps ends with the session.
document.addEventListener("submit", ({ target }) => {
  if (target.getAttribute("action") === "/console/log-out") try { sessionStorage.clear(); } catch { /* there is none */ }
});
addEventListener("pageshow", () => document.querySelectorAll("[aria-busy][type=submit]").forEach((button) => {
  button.removeAttribute("aria-busy"); // the page came back as it was left
  delete button.form?.dataset.asked;
}));

// A dialog is opened by its button, and closed by a click beside it.
document.addEventListener("click", ({ target }) => {
  const opener = target.closest("[data-open]");
  if (opener) document.getElementById(opener.dataset.open)?.showModal();
  if (target.matches?.("dialog[open]")) target.close();
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

// What does not scroll is no stop on the way of the Tab key, and lets the head of its table stick to the window.
const stops = new ResizeObserver((frames) => {
  for (const { target } of frames) {
    const scrolls = target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight + 1;
    target.classList.toggle("fits", !scrolls);
    if (scrolls) target.tabIndex = 0;
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
    if (fresh && fresh.innerHTML !== part.innerHTML) {
      // Its inside alone: a region that is read aloud has to stay.
      part.replaceChildren(...fresh.childNodes);
      part.querySelectorAll(".scroll").forEach((frame) => stops.observe(frame));
      if (!fresh.dataset.follow) delete part.dataset.follow;
    }
  } catch { /* the next one may work */ }
  again();
};
const again = () => { const part = waits(); if (part) setTimeout(follow, 1000 * (Number(part.dataset.follow) || 2)); };
again();
