// Charts as SVG: lines with gaps, stacked bars, a sparkline. Each has its figures as a table
// behind a fold and its meaning as one sentence, for whoever does not see it.

import { drawing, element, fold } from "./dom.js";
import { highest, linear, pathWithGaps, stack, ticks } from "./scale.js";

const HEIGHT = 168;
const NARROW = 700; // a phone: the same text size on half the width
const widthNow = () => (innerWidth < NARROW ? 340 : 640);
const EDGE = { top: 12, right: 8, bottom: 20, left: 44 };
const STYLES = ["s1", "s2", "s3", "s4"];
const ENOUGH = 300; // rows of the table behind a chart

const px = (value) => Number(value.toFixed(1));

function frame(width, marks, unit) {
  const y = linear(0, marks.at(-1), HEIGHT - EDGE.bottom, EDGE.top);
  const bottom = HEIGHT - EDGE.bottom;
  const lines = marks.map((mark) => [
    drawing("line", { class: mark ? "grid" : "base", x1: EDGE.left, x2: width - EDGE.right, y1: px(y(mark)), y2: px(y(mark)) }),
    drawing("text", { class: "label", x: EDGE.left - 6, y: px(y(mark)) + 4, "text-anchor": "end" },
      mark === marks.at(-1) && unit ? `${mark} ${unit}` : String(mark)),
  ]);
  return { y, bottom, lines };
}

function timeLabels(labels, x) {
  const shown = labels.map((label, at) => ({ label, at })).filter(({ label }) => label);
  return shown.map(({ label, at }) => drawing("text", {
    class: "label", x: px(x(at)), y: HEIGHT - 5,
    "text-anchor": at === 0 ? "start" : at >= labels.length - 2 ? "end" : "middle",
  }, label));
}

function sample(style, dashed, isBar) {
  const mark = isBar
    ? drawing("rect", { class: "bar", x: 4, y: 0, width: 8, height: 8 })
    : drawing("line", { class: dashed ? "line dashed" : "line", x1: 0, x2: 20, y1: 4, y2: 4 });
  return drawing("svg", { class: style, viewBox: "0 0 20 8", "aria-hidden": "true" }, mark);
}

function legend(series, isBar) {
  return element("figcaption", { class: "legend" },
    series.map((one, at) => element("span", {}, sample(one.style ?? STYLES[at], one.dashed, isBar), one.name)));
}

// `rows` of the table: [moment, value of each series]; nothing is written where nothing was measured.
function figures({ key, words, series, rows }) {
  const told = rows.filter((row) => row.slice(1).some((value) => value !== null && value !== undefined && value !== 0));
  const table = element("table", {},
    element("thead", {}, element("tr", {}, element("th", { scope: "col" }, words.time),
      series.map((one) => element("th", { scope: "col", class: "number" }, one.name)))),
    element("tbody", {}, told.slice(-ENOUGH).map(([time, ...values]) => element("tr", {},
      element("th", { scope: "row", class: "figures" }, time),
      values.map((value) => element("td", { class: "number" }, value ?? "–"))))));
  return fold(words.figures, `${key} figures`, told.length
    ? element("div", { class: "frame short", tabindex: "0", role: "region", "aria-label": words.figures, "data-key": `${key} table` }, table)
    : element("p", { class: "quiet small" }, words.nothing));
}

const whole = (width, svg, summary, series, isBar, table) => element("figure", { class: "chart" },
  legend(series, isBar), drawing("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": summary }, svg), table);

// series: [{name, values: [number|null], dashed, style}], labels and times of equal length.
export function lineChart({ key, series, labels, times, unit, summary, words }) {
  const most = Math.max(0, ...series.flatMap((one) => one.values.map((value) => value ?? 0)));
  const width = widthNow();
  const { y, lines } = frame(width, ticks(most), unit);
  const x = linear(0, Math.max(1, labels.length - 1), EDGE.left, width - EDGE.right);
  const drawn = series.map((one, at) => {
    const { path, spots } = pathWithGaps(one.values, x, y);
    return drawing("g", { class: one.style ?? STYLES[at] },
      path && drawing("path", { class: one.dashed ? "line dashed" : "line", d: path }),
      spots.map(([cx, cy]) => drawing("circle", { class: "spot", cx, cy, r: 2 })));
  });
  const rows = times.map((time, at) => [time, ...series.map((one) => one.values[at])]);
  return whole(width, [lines, timeLabels(labels, x), drawn], summary, series, false, figures({ key, words, series, rows }));
}

export function barChart({ key, series, labels, times, summary, words }) {
  const rows = times.map((_, at) => series.map((one) => one.values[at]));
  const width = widthNow();
  const { y, bottom, lines } = frame(width, ticks(highest(rows), { whole: true }), "");
  const room = (width - EDGE.right - EDGE.left) / Math.max(1, labels.length);
  const x = (at) => EDGE.left + at * room;
  const gap = room > 4 ? 1 : 0;
  const drawn = stack(rows).flatMap((pieces, at) => pieces.map(([low, high], which) => (high > low
    ? drawing("rect", { class: `bar ${series[which].style ?? STYLES[which]}`, x: px(x(at)), y: px(y(high)),
      width: px(Math.max(1, room - gap)), height: px(Math.max(1, Math.min(bottom, y(low)) - y(high))) }) : null)));
  const table = times.map((time, at) => [time, ...rows[at]]);
  return whole(width, [lines, timeLabels(labels, x), drawn], summary, series, true, figures({ key, words, series, rows: table }));
}

export function sparkline({ values, summary }) {
  const most = Math.max(1e-9, ...values.map((value) => value ?? 0));
  const { path, spots } = pathWithGaps(values, linear(0, Math.max(1, values.length - 1), 1, 95), linear(0, most, 18, 2));
  return drawing("svg", { class: "spark", viewBox: "0 0 96 20", role: "img", "aria-label": summary },
    path && drawing("path", { class: "line", d: path }),
    spots.map(([cx, cy]) => drawing("circle", { class: "spot", cx, cy, r: 1.5 })));
}
