// What is live: the limits, asked of the gateway itself by a ticket, and the newest rows of the logs.

const PACE = 2000;
const number = new Intl.NumberFormat("en-US");

// Limits

const fill = (meter, used, limit, write) => {
  const share = limit > 0 ? Math.min(1, used / limit) : 0;
  const bar = meter.querySelector("svg");
  meter.querySelector("[data-used]").textContent = write(used);
  meter.querySelector("[data-limit]").textContent = write(limit);
  meter.querySelector("[data-word]").textContent = share >= 1 ? "full" : "";
  meter.dataset.state = share >= 1 ? "full" : share >= 0.8 ? "high" : "";
  bar.firstElementChild.setAttribute("width", (share * 100).toFixed(1));
  bar.setAttribute("aria-valuenow", used);
  bar.setAttribute("aria-valuemax", limit);
};

const place = (root, name, value) => {
  const meter = root.querySelector(`[data-meter="${name}"]`);
  if (!meter || !value) return;
  if (!("period" in value)) fill(meter, value.used, value.limit, number.format);
  else if (value.spent !== null) fill(meter, value.spent, value.limit, String);
};

const show = (root, seen) => {
  for (const axis of ["requests", "tokens", "concurrent"]) place(root, `account.${axis}`, seen.account[axis]);
  for (const cap of seen.caps) place(root, `account.${cap.period}`, cap);
  for (const key of seen.keys) {
    for (const [axis, value] of Object.entries(key.limits ?? {})) place(root, `key.${key.id}.${axis}`, value);
    for (const cap of key.caps) place(root, `key.${key.id}.${cap.period}`, cap);
  }
  const credit = root.querySelector("[data-credit]");
  if (credit && seen.credit !== null) credit.textContent = seen.credit;
};

const tell = (root, kind, text) => {
  const badge = root.querySelector("[data-live] .badge");
  if (!badge || badge.textContent === text) return;
  badge.className = `badge ${kind}`;
  badge.textContent = text;
};

const watch = (root) => {
  let { ticket } = root.dataset;
  // A minute before its end, by this machine's own stopwatch: its clock may be wrong.
  const end = (seconds) => performance.now() + 1000 * (Number(seconds) - 60);
  let ends = end(root.dataset.seconds);
  const renew = async () => {
    const answer = await fetch(root.dataset.renew, { headers: { accept: "application/json" } });
    if (answer.redirected) { location.assign(answer.url); }
    const given = await answer.json();
    ticket = given.ticket;
    ends = end(given.seconds);
  };
  let last = "";
  const look = async () => {
    if (!document.hidden) {
      try {
        if (performance.now() > ends) await renew();
        const answer = await fetch("/v1/limits", { headers: { authorization: `Bearer ${ticket}` } });
        if (answer.status === 401) ends = 0;
        if (!answer.ok) throw new Error(String(answer.status));
        show(root, await answer.json());
        last = new Date().toLocaleTimeString();
        tell(root, "good", "Live, renewed every 2 s");
      } catch {
        tell(root, "warn", last ? `Not live: numbers of ${last}, trying again` : "Not live: the gateway does not answer, trying again");
      }
    }
    setTimeout(look, PACE);
  };
  look();
};
document.querySelectorAll("[data-limits]").forEach(watch);

// The newest rows of the logs

const TAIL = "techstone-tail";
const KEPT = 200;

const tail = (button) => {
  const note = document.querySelector("[data-tail-note]");
  const body = document.getElementById("rows");
  let timer = 0;
  const reading = () => body && (scrollY > 0 || body.matches(":hover") || body.contains(document.activeElement));
  const hold = () => {
    // Columns keep their widths, so that nothing moves sideways as rows come.
    for (const head of body?.closest("table").querySelectorAll("thead th") ?? []) head.style.width = `${head.offsetWidth}px`;
  };
  const take = (rows) => {
    const here = new Map([...body.rows].map((row) => [row.dataset.id, row]));
    if (!rows.some((row) => here.has(row.dataset.id))) { body.replaceChildren(...rows); return; }
    // From the oldest on, so that each finds its place before one that is there.
    let next = null;
    for (const row of rows.reverse()) {
      const old = here.get(row.dataset.id);
      if (!old) next?.before(row);
      else if (old.innerHTML !== row.innerHTML) old.replaceChildren(...row.childNodes);
      next = old ?? (next && row);
    }
    while (body.rows.length > KEPT) body.lastElementChild.remove();
  };
  const look = async () => {
    if (reading()) {
      note.textContent = "Paused while you read";
    } else if (!document.hidden) {
      try {
        const answer = await fetch(button.dataset.tail, { headers: { accept: "text/html" } });
        if (answer.redirected) { location.assign(answer.url); return; }
        if (!answer.ok) throw new Error(String(answer.status));
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("rows");
        if (!body && fresh.rows.length) { location.reload(); return; }
        if (body && fresh.rows.length && !reading()) take([...fresh.rows]);
        note.textContent = "Renewed every 2 s";
      } catch {
        note.textContent = "Not live at the moment, trying again";
      }
    }
    timer = setTimeout(look, PACE);
  };
  const turn = (on) => {
    button.setAttribute("aria-pressed", on);
    clearTimeout(timer);
    note.textContent = "";
    if (on) { hold(); look(); }
    try { sessionStorage.setItem(TAIL, on ? "on" : ""); } catch { /* forgotten */ }
  };
  button.hidden = false;
  button.addEventListener("click", () => turn(button.getAttribute("aria-pressed") !== "true"));
  let kept = null;
  try { kept = sessionStorage.getItem(TAIL); } catch { /* off */ }
  if (kept === "on") turn(true);
};
document.querySelectorAll("[data-tail]").forEach(tail);
