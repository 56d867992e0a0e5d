// Draws the charts as wide as their place, fills the tables behind them, and switches between light and dark.
"use strict";

const root = document.documentElement;
const theme = document.querySelector("button.theme");

function dark() {
  return root.dataset.theme === "dark";
}

function show(name) {
  root.dataset.theme = name;
  theme.textContent = dark() ? "Light" : "Dark";
  theme.setAttribute("aria-label", dark() ? "Switch to light colours" : "Switch to dark colours");
}

theme.addEventListener("click", () => show(dark() ? "light" : "dark"));
const wish = matchMedia("(prefers-color-scheme: dark)");
wish.addEventListener("change", () => show(wish.matches ? "dark" : "light"));
show(wish.matches ? "dark" : "light");

const NARROWEST = 150; // pixels in which the curve of a small panel can still be read

// The chart's specification for a place of that width. Axes keep their room, so the rest is for the drawing.
function fitted(spec, axis, width) {
  const made = structuredClone(spec);
  const room = width - axis - 10; // 10: the padding on both sides
  if (made.facet) {
    const gap = made.spacing;
    const most = Math.max(1, Math.floor((room + gap) / (NARROWEST + gap)));
    made.columns = Math.min(most, made.columns);
    made.spec.width = Math.floor((room + gap) / made.columns - gap);
    made.facet.header.labelLimit = made.spec.width;
  } else if (made.vconcat) {
    for (const panel of made.vconcat) panel.width = room - 5; // half a mark, at the end
  }
  return made; // a single chart fits itself into its place
}

function readable(value) {
  if (value === undefined || value === null) return "";
  return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(3))) : String(value);
}

// Names are the user's: they are set as text, never as markup.
function fill(table, rows, columns) {
  const head = table.createTHead().insertRow();
  for (const [, title] of columns) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = title;
    head.append(cell);
  }
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const [field] of columns) line.insertCell().textContent = readable(row[field]);
  }
}

// What is known of a mark; numbers that were not measured are left out. Vega gives texts; `safe` makes HTML of one.
function tip(value, safe) {
  const known = Object.entries(value).filter(([, shown]) => shown !== "undefined" && shown !== "NaN");
  const cells = known.map(([key, shown]) => `<td class="key">${safe(key)}</td><td class="value">${safe(shown)}</td>`);
  return `<table><tr>${cells.join("</tr><tr>")}</tr></table>`;
}

for (const figure of document.querySelectorAll("figure.chart")) {
  const { spec, axis, dataset, columns } = JSON.parse(figure.querySelector("script").textContent);
  const rows = spec.datasets[dataset].filter((row) => row.level !== "groups");
  const drawing = figure.querySelector(".drawing");
  const numbers = figure.querySelector("details");
  numbers.addEventListener("toggle", () => {
    const table = numbers.querySelector("table");
    if (!table.tHead) fill(table, rows, columns);
  });
  let drawn = 0;
  let view = null;

  async function draw() {
    const width = Math.floor(drawing.clientWidth);
    if (width === drawn || width === 0) return;
    drawn = width;
    const part = view && figure.querySelector(".choice select") ? view.signal("part") : null;
    const choice = figure.querySelector(".choice");
    const options = { mode: "vega-lite", renderer: "svg", actions: false, bind: choice, tooltip: { formatTooltip: tip } };
    view?.finalize();
    choice.replaceChildren();
    const made = fitted(spec, axis, width);
    if (part !== null) made.params.find((param) => param.name === "part").value = part;
    ({ view } = await vegaEmbed(drawing, made, options));
    drawing.querySelector("svg").setAttribute("aria-hidden", "true"); // its sentence and its table are read instead
    figure.dataset.drawn = width;
  }

  new ResizeObserver(() => requestAnimationFrame(draw)).observe(drawing);
}
