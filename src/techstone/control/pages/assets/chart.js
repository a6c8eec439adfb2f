// Draws the charts of a page with uPlot, each from the table that stands behind it: both say the same.

const ROOM_FOR_LABELS = 640; // below it a chart has its legend above instead
const LABEL = 16; // px of height
const SERIES = 6; // colours
const WHOLE = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((of) => of * 10 ** power)).flat(); // what is counted has no halves

const colour = (box, name) => {
  box.style.color = `var(${name})`;
  const found = getComputedStyle(box).color;
  box.style.color = "";
  return found;
};
const faint = (of, share) => `color-mix(in oklab, ${of} ${share}%, transparent)`;
const number = (text) => Number(text.replaceAll(",", "")) || 0;
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const exact = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const figure = (value) => (Math.abs(value) >= 1000 ? short : exact).format(value);
const time = (form) => new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...form });
const hours = time({ hour: "2-digit", minute: "2-digit" });
const days = time({ day: "numeric", month: "short" });

const read = (frame) => {
  const rows = [...frame.querySelectorAll("tbody tr")];
  return {
    names: [...frame.querySelectorAll("thead th")].slice(1).map(({ textContent }) => textContent),
    times: rows.map(({ dataset }) => Number(dataset.at)),
    labels: rows.map((row) => row.cells[0].textContent),
    cells: rows.map((row) => [...row.cells].slice(1).map(({ textContent }) => textContent)),
  };
};

// A stack's lines lie on each other: the first on all the others.
const pile = (columns) => {
  const sums = [];
  let below = columns.at(-1).map(() => 0);
  for (const column of [...columns].reverse()) {
    below = column.map((value, place) => value + below[place]);
    sums.unshift(below);
  }
  return sums;
};

const placeLabels = (plot, box, names, colours) => {
  const drawn = plot.data.slice(1).map((column, place) => ({ place, top: plot.valToPos(column.at(-1), "y") - LABEL / 2 + plot.bbox.top / devicePixelRatio }));
  drawn.sort((one, other) => one.top - other.top);
  drawn.forEach((label, number) => { if (number) label.top = Math.max(label.top, drawn[number - 1].top + LABEL); });
  const over = Math.max(0, (drawn.at(-1)?.top ?? 0) + LABEL - box.clientHeight);
  for (const { place, top } of drawn) {
    const label = Object.assign(document.createElement("span"), { className: "direct", textContent: names[place] });
    label.style.top = `${top - over}px`;
    label.style.color = colours[place];
    label.style.left = `${box.clientWidth - 120}px`;
    box.append(label);
  }
};

const follow = (box, shown, colours) => {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  return (plot) => {
    if (!tip.parentNode) box.append(tip);
    const { idx, left } = plot.cursor;
    tip.hidden = idx == null || left < 0;
    if (tip.hidden) return;
    tip.replaceChildren(Object.assign(document.createElement("b"), { textContent: shown.labels[idx] }));
    shown.names.forEach((name, place) => {
      const line = document.createElement("span");
      const mark = document.createElement("i");
      mark.style.background = colours[place];
      line.append(mark, Object.assign(document.createElement("em"), { textContent: name }), shown.cells[idx][place]);
      tip.append(line);
    });
    const start = plot.bbox.left / devicePixelRatio + left;
    const x = start + 16 + tip.offsetWidth > box.clientWidth ? start - 16 - tip.offsetWidth : start + 16;
    tip.style.transform = `translate(${Math.max(0, x)}px, 8px)`;
  };
};

const drawLimit = (frame, line, text) => ({ ctx, bbox, valToPos }) => {
  const y = valToPos(Number(frame.dataset.limit), "y", true);
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = line;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.font = text;
  ctx.textAlign = "right";
  ctx.fillText(`${frame.dataset.limitLabel} ${figure(Number(frame.dataset.limit))}`, bbox.left + bbox.width, y - 4 * devicePixelRatio);
  ctx.restore();
};

const draw = (frame) => {
  const box = frame.querySelector(".plot");
  const shown = read(frame);
  if (!shown.times.length || !box.clientWidth) return null;
  const columns = shown.names.map((_, place) => shown.cells.map((row) => number(row[place])));
  const stacked = frame.dataset.kind === "stack" && columns.length > 1;
  const drawn = stacked ? pile(columns) : columns;
  const colours = columns.map((_, place) => colour(box, `--series-${(place % SERIES) + 1}`));
  const [grid, ink, line] = ["--stone-4", "--stone-10", "--stone-9"].map((name) => colour(box, name));
  const limit = Number(frame.dataset.limit) || 0;
  const short = shown.times.at(-1) - shown.times[0] <= 2 * 86400;
  const labelled = columns.length > 1 && box.clientWidth >= ROOM_FOR_LABELS;
  const font = `12px ${getComputedStyle(box).fontFamily}`;
  const axis = { stroke: ink, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
  return new uPlot({
    width: box.clientWidth,
    height: box.clientHeight,
    padding: [12, labelled ? 136 : 20, 0, 0],
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: { y: { range: (_, __, most) => [0, Math.max(most, limit) * 1.08 || 1] } },
    axes: [
      { ...axis, size: 28, gap: 6, space: 72, values: (_, stops) => stops.map((at) => (short ? hours : days).format(at * 1000)), incrs: short ? undefined : [86400, 2 * 86400, 7 * 86400, 14 * 86400, 30 * 86400] },
      { ...axis, size: 56, gap: 8, space: 40, values: (_, stops) => stops.map(figure), incrs: frame.dataset.unit ? undefined : WHOLE },
    ],
    series: [{}, ...columns.map((_, place) => ({ stroke: colours[place], width: 1.5, points: { show: shown.times.length === 1 }, fill: stacked ? faint(colours[place], 22) : columns.length === 1 ? faint(colours[place], 10) : undefined }))],
    bands: stacked ? columns.slice(1).map((_, place) => ({ series: [place + 1, place + 2] })) : [],
    hooks: {
      setCursor: [follow(box, shown, colours)],
      ready: labelled ? [(plot) => placeLabels(plot, box, shown.names, colours)] : [],
      draw: limit ? [drawLimit(frame, line, `${12 * devicePixelRatio}px ${getComputedStyle(box).fontFamily}`)] : [],
    },
  }, [shown.times, ...drawn], box);
};

const plots = new Map();
const renew = (frame) => {
  plots.get(frame)?.destroy();
  frame.querySelector(".plot").replaceChildren();
  plots.set(frame, draw(frame));
};
const all = () => document.querySelectorAll(".chart").forEach(renew);
const watch = new ResizeObserver((boxes) => boxes.forEach(({ target }) => renew(target.closest(".chart"))));
document.fonts.ready.then(() => document.querySelectorAll(".chart .plot").forEach((box) => watch.observe(box)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
new MutationObserver(all).observe(document.documentElement, { attributeFilter: ["data-theme"] });
