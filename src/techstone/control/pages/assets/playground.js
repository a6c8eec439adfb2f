// The playground: asks the API from the browser as any program does, one or two models at once, and shows what came.
// The key is of one hour, and kept in this tab alone.

const bench = document.querySelector(".bench");
const settings = document.querySelector("[data-settings]");
const composer = document.querySelector("[data-composer]");
const lanesBox = document.querySelector("[data-lanes]");
const stop = document.querySelector("[data-stop]");
const send = composer.querySelector("[type=submit]");
const said = document.querySelector("[data-said]");
const KEPT = `techstone-playground-${bench.dataset.account}`;
const NEW_KEY_WAIT = 300; // ms; the gateway knows a new key within a second, mostly at once
const EARLY = 30; // seconds before its end a key is not used any more

const make = (tag, className = "", text = "") => Object.assign(document.createElement(tag), { className, textContent: text });
const seconds = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`);
const thousands = (count) => count.toLocaleString("en");
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// The request, as the fields say.

const wish = (model, messages) => {
  const body = { model, messages };
  for (const name of ["temperature", "max_tokens", "top_p", "seed"]) {
    const { value } = settings.elements[name];
    if (value !== "") body[name] = Number(value);
  }
  const stops = settings.elements.stop.value.split(",").map((text) => text.trim()).filter(Boolean);
  if (stops.length) body.stop = stops;
  return { ...body, stream: true, stream_options: { include_usage: true } };
};
const history = (lane, text) => {
  const system = settings.elements.system.value.trim();
  return [...(system ? [{ role: "system", content: system }] : []), ...lane.messages, ...(text ? [{ role: "user", content: text }] : [])];
};

// The key of this tab.

class Told extends Error {} // a failure that is said in words

const readKey = () => {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT));
    return kept && kept.expires_at - EARLY > Date.now() / 1000 ? kept.key : null;
  } catch { return null; }
};
let making = null;
const makeKey = async () => {
  const answer = await fetch("/console/playground/key", { method: "POST", body: new URLSearchParams({ csrf: settings.elements.csrf.value }) });
  if (answer.redirected) throw new Told("Your session has ended. Log in again in another tab, then reload this page.");
  if (!answer.ok) throw new Told(answer.status === 403 ? "This page has expired, or your role has changed. Reload it." : "No key could be made. Try again in a moment.");
  const made = await answer.json();
  try { sessionStorage.setItem(KEPT, JSON.stringify(made)); } catch { /* for one request then */ }
  await pause(NEW_KEY_WAIT);
  return made.key;
};
const findKey = async () => {
  const kept = readKey();
  if (kept) return kept;
  making ??= makeKey().finally(() => { making = null; });
  return making;
};
const forgetKey = () => { try { sessionStorage.removeItem(KEPT); } catch { /* there is none */ } };

// One run.

const post = async (body, signal) => {
  for (let attempt = 0; ; attempt += 1) {
    const key = await findKey();
    const began = performance.now();
    const answer = await fetch("/v1/chat/completions", {
      method: "POST", signal, body: JSON.stringify(body), credentials: "omit",
      headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
    });
    if (answer.status !== 401 || attempt === 8) return { answer, began };
    if (attempt === 4) forgetKey(); // it was revoked
    await pause(NEW_KEY_WAIT);
  }
};

async function* readEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trim();
  }
}

const explain = ({ error }, answer) => {
  const wait = answer.headers.get("retry-after");
  const words = error?.message ?? `The API answered with status ${answer.status}.`;
  return wait && !/try again|retry after/i.test(words) ? `${words} Try again in ${wait} s.` : words;
};

const run = async (lane, body, turn, signal) => {
  const seen = { first: null, usage: null, finish: null };
  turn.state("Waiting");
  const { answer, began } = await post(body, signal);
  turn.headers = { status: answer.status, list: [...answer.headers] };
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw Object.assign(new Told(explain(told, answer)), { code: told.error?.code });
  }
  let whole = false;
  for await (const data of readEvents(answer.body)) {
    if (data === "[DONE]") { whole = true; break; }
    const event = JSON.parse(data);
    if (event.error) throw Object.assign(new Told(event.error.message), { code: event.error.code });
    const choice = event.choices?.[0];
    const text = choice?.delta?.content ?? "";
    const thought = choice?.delta?.reasoning_content ?? choice?.delta?.reasoning ?? "";
    if ((text || thought) && seen.first === null) { seen.first = performance.now() - began; turn.state("Answering"); }
    if (thought) turn.think(thought);
    if (text) turn.write(text);
    seen.finish = choice?.finish_reason ?? seen.finish;
    seen.usage = event.usage ?? seen.usage;
  }
  if (!whole) throw new Told("The answer broke off. Nothing more comes.");
  turn.tell({ ...seen, total: performance.now() - began, cost: answer.headers.get("x-techstone-cost") ?? seen.usage?.cost });
};

// What is shown.

const fact = (label, value) => {
  const box = make("span", "", `${label} `);
  box.append(make("b", "", value));
  return box;
};

const addTurn = (lane) => {
  const item = make("li", "turn answer");
  const who = make("p", "who", lane.model);
  const mark = make("span", "quiet");
  who.append(mark);
  const text = make("div", "text");
  const foot = make("p", "foot");
  item.append(who, text, foot);
  let thoughts = null;
  const keepDown = (change) => {
    const down = lane.box.scrollHeight - lane.box.scrollTop - lane.box.clientHeight < 24;
    change();
    if (down) lane.box.scrollTop = lane.box.scrollHeight; // who has scrolled up to read is left there
  };
  keepDown(() => lane.list.append(item));
  const turn = {
    headers: null, text: "",
    state: (words) => { mark.textContent = words ? ` ${words}…` : ""; },
    write: (more) => keepDown(() => { turn.text += more; text.append(more); }),
    think: (more) => keepDown(() => {
      if (!thoughts) { thoughts = make("div", "text thoughts"); text.before(thoughts); }
      thoughts.append(more);
    }),
    addFoot: (...parts) => keepDown(() => foot.append(...parts)),
    tell: ({ first, total, usage, cost, finish }) => {
      turn.addFoot(...(first === null ? [] : [fact("First token", seconds(first))]), fact("Total", seconds(total)));
      if (usage) turn.addFoot(fact("Tokens", `${thousands(usage.prompt_tokens)} + ${thousands(usage.completion_tokens)}`));
      if (usage && total > first && usage.completion_tokens > 1) turn.addFoot(fact("Speed", `${(usage.completion_tokens / ((total - (first ?? 0)) / 1000)).toFixed(0)} tokens/s`));
      if (cost != null) turn.addFoot(fact("Cost", `${cost} USD`));
      if (finish === "length") turn.addFoot(make("span", "badge warn", "cut at max tokens"));
    },
    offerHeaders: () => {
      if (!turn.headers) return;
      const button = make("button", "link", "Headers");
      button.type = "button";
      button.addEventListener("click", () => showHeaders(turn.headers));
      turn.addFoot(button);
    },
    fail: (words, code, again) => keepDown(() => {
      const note = make("p", "banner wrong", `${words} `);
      note.setAttribute("role", "alert");
      if (code) { const link = make("a", "", code); link.href = "/docs/errors"; note.append(link, " "); }
      const retry = make("button", "button small", "Try again");
      retry.type = "button";
      retry.addEventListener("click", () => { item.remove(); again(); });
      note.append(retry);
      foot.before(note);
    }),
  };
  return turn;
};

const showHeaders = ({ status, list }) => {
  const dialog = document.getElementById("headers");
  dialog.querySelector("[data-line]").textContent = `POST /v1/chat/completions, status ${status}`;
  const first = /^(x-request-id|x-techstone|x-ratelimit|retry-after)/;
  const sorted = [...list].sort(([one], [other]) => first.test(other) - first.test(one) || one.localeCompare(other));
  dialog.querySelector("[data-headers]").replaceChildren(...sorted.map(([name, value]) => {
    const row = make("div");
    const shown = make("dd", "mono", name === "x-request-id" ? "" : value);
    if (name === "x-request-id") shown.append(Object.assign(make("a", "", value), { href: `/console/logs/${value}` }));
    row.append(make("dt", "mono", name), shown);
    return row;
  }));
  dialog.showModal();
};

// The guide is a model that knows this product: what newcomers ask it is offered to be asked.
const invite = () => {
  const box = document.querySelector("[data-invitation]").content.firstElementChild.cloneNode(true);
  box.addEventListener("click", ({ target }) => {
    const button = target.closest("button");
    if (!button) return;
    composer.elements.say.value = button.textContent;
    composer.requestSubmit();
  });
  return box;
};
const introduce = (model, words) => (model === bench.dataset.guide ? invite() : make("p", "hint", words));

const addLane = (model) => {
  const box = make("section", "lane");
  const list = make("ol", "turns");
  box.setAttribute("aria-label", model);
  box.tabIndex = 0;
  box.append(introduce(model, `${model} answers here, with its times, tokens and cost.`), list);
  lanesBox.append(box);
  return { model, box, list, messages: [] };
};

let lanes = [];
const arrange = () => {
  const wanted = [settings.elements.model.value, settings.elements.beside.value].filter(Boolean);
  lanes = wanted.map((model, place) => {
    const lane = lanes[place];
    if (!lane) return addLane(model);
    if (lane.model !== model) {
      lane.model = model;
      lane.box.setAttribute("aria-label", model);
      lane.box.querySelector(".hint").replaceWith(introduce(model, `${model} answers from here on.`));
    }
    return lane;
  });
  // What stays is not moved: a click that has begun in it would be lost.
  [...lanesBox.children].slice(lanes.length).forEach((box) => box.remove());
  lanesBox.dataset.count = lanes.length;
};

// Sending, to all lanes at once.

let stopper = null;
let busy = 0;
const follow = (more) => {
  busy += more;
  send.disabled = busy > 0;
  stop.hidden = busy === 0;
  if (busy === 0) { stopper = null; said.textContent = "The answer is complete."; }
};
const ask = async (lane) => {
  follow(1);
  stopper ??= new AbortController();
  const { signal } = stopper;
  const turn = addTurn(lane);
  turn.state("Waiting");
  lane.box.setAttribute("aria-busy", "true");
  try {
    await run(lane, wish(lane.model, history(lane, "")), turn, signal);
  } catch (error) {
    if (error.name === "AbortError") turn.addFoot(make("span", "badge idle", "stopped"));
    else turn.fail(error instanceof Told ? error.message : "The service cannot be reached, or the connection broke.", error.code, () => ask(lane));
  }
  turn.state("");
  turn.offerHeaders();
  if (turn.text) lane.messages.push({ role: "assistant", content: turn.text });
  lane.box.removeAttribute("aria-busy");
  follow(-1);
};
composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = composer.elements.say.value.trim();
  if (!text || busy || !settings.reportValidity()) return;
  composer.reset();
  for (const lane of lanes) {
    lane.messages.push({ role: "user", content: text });
    const item = make("li", "turn question");
    item.append(make("div", "text", text));
    lane.list.append(item);
    lane.box.scrollTop = lane.box.scrollHeight;
    ask(lane);
  }
});
composer.elements.say.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  composer.requestSubmit();
});
stop.addEventListener("click", () => { stopper?.abort(); composer.elements.say.focus(); });
settings.addEventListener("submit", (event) => event.preventDefault());
settings.addEventListener("change", arrange);
document.querySelector("[data-anew]").addEventListener("click", () => {
  stopper?.abort();
  lanes = [];
  lanesBox.replaceChildren();
  arrange();
  composer.elements.say.focus();
});

// The same as a program.

const python = (value, depth = 0) => {
  const pad = "    ".repeat(depth + 1);
  if (Array.isArray(value)) return value.length ? `[\n${value.map((one) => `${pad}${python(one, depth + 1)},\n`).join("")}${"    ".repeat(depth)}]` : "[]";
  if (value && typeof value === "object") return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${python(one, depth + 1)}`).join(", ")}}`;
  return { true: "True", false: "False", null: "None" }[value] ?? JSON.stringify(value);
};
const programs = (body) => {
  const base = `${bench.dataset.base}/v1`;
  const json = JSON.stringify(body, null, 2);
  const fields = Object.entries(body).map(([name, value]) => `    ${name}=${python(value, 1)},\n`).join("");
  return {
    curl: `curl -N ${base}/chat/completions \\\n  -H "Authorization: Bearer $TECHSTONE_API_KEY" \\\n  -H "Content-Type: application/json" \\\n  -d '${json.replaceAll("'", "'\\''")}'`,
    python: `import os\n\nfrom openai import OpenAI\n\nclient = OpenAI(base_url=${JSON.stringify(base)}, api_key=os.environ["TECHSTONE_API_KEY"])\nstream = client.chat.completions.create(\n${fields})\nfor chunk in stream:\n    if chunk.choices and chunk.choices[0].delta.content:\n        print(chunk.choices[0].delta.content, end="", flush=True)\nprint()`,
    node: `import OpenAI from 'openai';\n\nconst client = new OpenAI({ baseURL: ${JSON.stringify(base)}, apiKey: process.env.TECHSTONE_API_KEY });\nconst stream = await client.chat.completions.create(${json});\nfor await (const chunk of stream) {\n  process.stdout.write(chunk.choices[0]?.delta?.content ?? '');\n}\nconsole.log();`,
  };
};
const showCode = (lane) => {
  const text = composer.elements.say.value.trim();
  const messages = history(lane, text);
  const written = programs(wish(lane.model, messages.length ? messages : [{ role: "user", content: "Hello!" }]));
  for (const [name, code] of Object.entries(written)) document.getElementById(`code-in-${name}-text`).textContent = code;
  const which = document.querySelector("[data-which]");
  which.hidden = lanes.length < 2;
  which.querySelector("nav").replaceChildren(...lanes.map((one) => {
    const button = make("button", "", one.model);
    button.type = "button";
    if (one === lane) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => showCode(one));
    return button;
  }));
};
document.querySelector("[data-code]").addEventListener("click", () => {
  showCode(lanes[0]);
  document.getElementById("code").showModal();
});

document.querySelector("[data-fold]").addEventListener("click", ({ currentTarget: button }) => {
  button.setAttribute("aria-expanded", String(button.getAttribute("aria-expanded") !== "true"));
});
arrange();
