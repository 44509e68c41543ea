// Today: how the parts stand, five numbers, two charts, payments as they arrive.

import { age, amountOf, billLink, channelOf, stateOf, units } from "./shown.js";
import { address } from "./route.js";
import { element, redraw } from "../kit/dom.js";
import { count, money } from "../kit/amount.js";
import { barChart, lineChart } from "../kit/chart.js";
import { duration, local, moment } from "../kit/moment.js";
import { empty, table } from "../kit/parts.js";

export const everyMs = 5000;
const LATEST = 15;
const HOURS = 4;

// The gateway tells of itself; what the KHQR service calls it tells itself, and its being away
// is a part that is down, not a page that fails.
export async function load({ api }) {
  const [today, latest, khqr] = await Promise.all([api.get("ops/today"), api.get("ops/payments", { pageSize: LATEST }),
    api.get("ops/system/khqr").then(({ process }) => process ?? {}, (problem) => ({ problem }))]);
  const parts = [...(today.parts ?? []), ...partsOf(khqr)];
  const latencies = [...(today.latencies ?? []), ...(khqr.latencies ?? [])];
  return { today: { ...today, parts, latencies }, payments: latest.payments ?? [] };
}

const HEALTH = { CLOSED: "WORKING", HALF_OPEN: "STRAINED", OPEN: "DOWN" };

// A breaker tells how its endpoint does; one that was not called yet tells nothing.
function partsOf({ breakers = [], problem }) {
  if (problem) return [{ name: "khqr", health: "DOWN", why: problem.message }];
  return breakers.map((one) => ({ name: `${one.owner} ${one.endpoint}`, since: one.since,
    health: Number(one.calls) || one.state !== "CLOSED" ? HEALTH[one.state] : "UNKNOWN" }));
}

export function draw({ data: { today, payments }, t, now, context }) {
  return [
    element("h2", { class: "unseen" }, t("page.today")),
    standing(today, t, now),
    five(today, t, now),
    element("div", { class: "half" }, arrivals(today, t), latency(today, t, context)),
    element("section", { class: "part" },
      element("h2", {}, t("today.latest")), paymentTable({ key: "latest", rows: payments, t, empty: empty(t("today.none"), t("today.none.how")) })),
  ];
}

function standing(today, t, now) {
  return element("ul", { class: "standing", "aria-label": t("today.parts") },
    (today.parts ?? []).map((part) => element("li", {},
      element("span", { class: "name" }, part.name),
      stateOf(t, part.health),
      element("span", { class: "quiet small", title: part.since ? moment(part.since) : null },
        [part.why, part.since ? t("since", { age: age(t, part.since, now) }) : null].filter(Boolean).join(" · ") || t("since.start")))));
}

// Confirmed by ended, to a tenth, never rounded up to all where one failed.
export function rate(confirmed, ended) {
  if (!Number(ended)) return "–";
  const tenths = Math.floor((Number(confirmed) * 1000) / Number(ended));
  return `${Math.floor(tenths / 10)}.${tenths % 10} %`;
}

function five(today, t, now) {
  const one = (name, figures, ...more) => element("div", {}, element("dt", {}, name),
    figures.map((figure) => element("dd", { class: "figure" }, figure)), more.map((line) => element("dd", { class: "quiet small" }, line)));
  const link = (href, text) => element("a", { href, "data-key": href }, text);
  return element("dl", { class: "five" },
    one(t("today.collected"), (today.collected ?? []).map((sum) => money(sum.amount, sum.currency))),
    one(t("today.payments"), [count(today.payments)], (today.collected ?? []).map((sum) => `${sum.currency} ${count(sum.payments)}`).join(" · ")),
    one(t("today.rate"), [rate(today.noticesConfirmed, today.noticesEnded)], t("today.rate.of", { confirmed: count(today.noticesConfirmed), ended: count(today.noticesEnded) })),
    one(t("today.waiting"), [link(address("payments", { list: "notices", state: "VERIFYING" }), count(today.waiting))],
      today.waitingSince ? t("today.oldest", { age: age(t, today.waitingSince, now) }) : t("today.waiting.none")),
    one(t("today.exceptions"), [link(address("exceptions"), count(today.openExceptions))],
      Number(today.openExceptions) ? t("today.exceptions.some") : t("today.exceptions.none")));
}

// A label where a multiple of four hours begins in Phnom Penh.
function hourLabels(points) {
  return points.map(({ at }) => {
    const time = local(at)?.time.slice(0, 5) ?? "";
    return time.endsWith(":00") && Number(time.slice(0, 2)) % HOURS === 0 ? time : "";
  });
}

const times = (points) => points.map(({ at }) => moment(at).slice(0, 16));
const chartWords = (t) => ({ time: t("time"), figures: t("chart.figures"), nothing: t("chart.nothing") });

function arrivals(today, t) {
  const points = today.arrivals ?? [];
  const bill = points.map((point) => Number(point.bill));
  const khqr = points.map((point) => Number(point.khqr));
  const sum = (values) => values.reduce((whole, value) => whole + value, 0);
  return element("section", { class: "part" }, element("h2", {}, t("today.arrivals")), barChart({
    key: "arrivals", labels: hourLabels(points), times: times(points), words: chartWords(t),
    series: [{ name: t("channel.BILL"), values: bill }, { name: t("channel.KHQR"), values: khqr }],
    summary: t("today.arrivals.summary", { bill: sum(bill), khqr: sum(khqr) }) }));
}

let chosen = null;

function latency(today, t, context) {
  const all = today.latencies ?? [];
  const name = (one) => `${one.owner} ${one.endpoint}`;
  const one = all.find((each) => name(each) === chosen) ?? all.find((each) => each.points.some((point) => Number(point.calls))) ?? all[0];
  const head = element("h2", {}, t("today.latency"));
  if (!one) return element("section", { class: "part" }, head, element("div", { class: "frame" }, empty(t("today.latency.none"), t("today.latency.none.how"))));
  const value = (point, what) => (Number(point.calls) ? Number(point[what]) : null);
  const p95 = one.points.map((point) => value(point, "p95Ms"));
  const most = Math.max(0, ...p95.map((ms) => ms ?? 0));
  const place = element("section", { class: "part" });
  redraw(place, head,
    element("div", {}, element("div", { class: "switch", role: "group", "aria-label": t("endpoint") }, all.map((each) => element("button", {
      type: "button", "data-key": `endpoint ${name(each)}`, "aria-pressed": String(each === one),
      onclick: () => { chosen = name(each); context.redraw(); } }, name(each))))),
    lineChart({ key: "latency", unit: t("unit.ms"), labels: hourLabels(one.points), times: times(one.points), words: chartWords(t),
      series: [{ name: "p50", values: one.points.map((point) => value(point, "p50Ms")) }, { name: "p95", values: p95, dashed: true }],
      summary: t("today.latency.summary", { name: name(one), most: duration(most, units(t)) }) }));
  return place;
}

// `ofOneBill`: the reader knows which bill and policy it is.
export function paymentTable({ key, rows, t, empty: nothing, ofOneBill = false }) {
  const which = [
    { head: t("bill"), kind: "number", cell: (one) => billLink(one.billId) },
    { head: t("policy"), kind: "figures", cell: (one) => one.policyNumber || "–" },
  ];
  return table({ key, name: t("list.payments"), rows, empty: nothing, columns: [
    { head: t("recorded"), kind: "figures", cell: (one) => moment(one.recordedAt) },
    ...(ofOneBill ? [] : which),
    { head: t("channel"), cell: (one) => channelOf(t, one.channel) },
    { head: t("amount"), kind: "number", cell: (one) => amountOf(one) },
    { head: t("transaction"), kind: "figures", cell: (one) => one.transactionId },
    { head: t("state"), cell: (one) => stateOf(t, one.state) },
    { head: t("assurance"), cell: (one) => t(`assurance.${one.assurance}`) },
  ] });
}
