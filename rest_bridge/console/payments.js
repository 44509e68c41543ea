// Payments: one search box that takes anything, filters, and the query in the address.

import { address } from "./route.js";
import { amountOf, billLink, channelOf, said, stateOf } from "./shown.js";
import { paymentTable } from "./today.js";
import { element } from "../kit/dom.js";
import { dayBounds, moment } from "../kit/moment.js";
import { action, empty, table } from "../kit/parts.js";

export const everyMs = 15_000;
const STATES = {
  payments: ["APPLIED", "UNAPPLIED"],
  notices: ["RECEIVED", "VERIFYING", "DONE", "HELD"],
  bills: ["OPEN", "PAID", "CLOSED"],
  codes: ["LIVE", "SUPERSEDED", "EXPIRED", "PAID"],
};
const WITHOUT = { bills: ["channel"], codes: ["channel", "currency"] }; // what a list cannot be asked for
const CHOICES = { channel: ["BILL", "KHQR"], currency: ["USD", "KHR"] };

export function filterOf({ list = "payments", state, channel, currency, day }) {
  const [since, until] = day ? dayBounds(day) : [];
  const all = { state, channel, currency, since, until };
  const left = Object.entries(all).filter(([name, value]) => value && !(WITHOUT[list] ?? []).includes(name));
  return Object.fromEntries(left.map(([name, value]) => [`filter.${name}`, value]));
}

export async function load({ api, route: { query } }) {
  if (query.q) return { found: await api.get("ops/cases", { text: query.q.trim() }) };
  const list = STATES[query.list] ? query.list : "payments";
  return { list, page: await api.get(`ops/${list}`, filterOf({ ...query, list })), older: [] };
}

// Whoever has paged back reads on undisturbed.
export const keep = (before, after, fresh) => (before.older?.length && !fresh ? before : after);

// One thing was meant and one was found: that one is what is wanted.
export const only = ({ found }) => (found?.cases?.length === 1 ? found.cases[0].billId : null);

export function draw({ data, route, t, context }) {
  const { query } = route;
  return [
    element("h2", { class: "unseen" }, t("page.payments")),
    query.q ? foundPart(data.found, query.q, t) : listPart(data, query, t, context),
  ];
}

function foundPart(found, text, t) {
  return element("section", { class: "part" },
    element("h2", {}, t("found.title", { text }), element("a", { href: address("payments"), class: "small" }, t("found.clear"))),
    table({ key: "found", name: t("found.title", { text }), rows: found.cases ?? [], empty: empty(t("found.none"), t("found.none.how")), columns: [
      { head: t("bill"), kind: "number", cell: (one) => billLink(one.billId) },
      { head: t("found.as"), cell: (one) => t(`found.${one.foundAs}`) },
      { head: t("policy"), kind: "figures", cell: (one) => one.policyNumber || "–" },
      { head: t("amount"), kind: "number", cell: (one) => amountOf(one) },
      { head: t("standing"), cell: (one) => stateOf(t, one.standing, one.standing === "OPEN" ? "standing" : "") },
      { head: t("last"), kind: "figures", cell: (one) => moment(one.at) },
    ] }),
    found.more ? element("p", { class: "quiet" }, t("found.more")) : null);
}

function listPart(data, query, t, context) {
  const rows = [...(data.page[data.list] ?? []), ...data.older];
  const isFiltered = Object.keys(filterOf({ ...query, list: data.list })).length > 0;
  const nothing = isFiltered ? empty(t("list.nothing.fits"), t("list.nothing.fits.how")) : empty(t(`list.${data.list}.none`), t("list.none.how"));
  return element("section", { class: "part" },
    filters(data.list, query, t),
    LISTS[data.list]({ rows, t, empty: nothing }),
    data.page.nextPageToken ? element("div", {}, action({ word: t("list.older"), key: "older", done: context.redraw, run: async () => {
      const next = await context.api.get(`ops/${data.list}`, { ...filterOf({ ...query, list: data.list }), pageToken: data.page.nextPageToken });
      data.older.push(...(next[data.list] ?? []));
      data.page = { ...data.page, nextPageToken: next.nextPageToken };
    } })) : null);
}

function filters(list, query, t) {
  const go = (change) => { location.hash = address("payments", { ...query, list, ...change }); };
  const select = (name, values) => element("div", { class: "field" }, element("label", { for: `filter-${name}` }, t(name)),
    element("select", { id: `filter-${name}`, "data-key": `filter ${name}`, onchange: (event) => go({ [name]: event.target.value }) },
      element("option", { value: "" }, t("filter.any")),
      values.map((value) => element("option", { value, selected: query[name] === value },
        said(t, `state.${value}`, said(t, `channel.${value}`, value))))));
  const without = WITHOUT[list] ?? [];
  return element("div", { class: "filters", role: "group", "aria-label": t("filters") },
    element("div", { class: "switch", role: "group", "aria-label": t("list.what") }, Object.keys(STATES).map((name) => element("button", {
      type: "button", "data-key": `list ${name}`, "aria-pressed": String(name === list), onclick: () => go({ list: name, state: "" }) }, t(`list.${name}`)))),
    select("state", STATES[list]),
    Object.entries(CHOICES).filter(([name]) => !without.includes(name)).map(([name, values]) => select(name, values)),
    element("div", { class: "field" }, element("label", { for: "filter-day" }, t("day")),
      element("input", { id: "filter-day", type: "date", "data-key": "filter day", value: query.day ?? "", onchange: (event) => go({ day: event.target.value }) })),
    Object.keys(query).some((name) => name !== "list") ? element("a", { href: address("payments", { list }) }, t("filter.clear")) : null);
}

const LISTS = {
  payments: ({ rows, t, empty: nothing }) => paymentTable({ key: "payments", rows, t, empty: nothing }),
  notices: ({ rows, t, empty: nothing }) => table({ key: "notices", name: t("list.notices"), rows, empty: nothing, columns: [
    { head: t("received"), kind: "figures", cell: (one) => moment(one.receivedAt) },
    { head: t("bill"), kind: "number", cell: (one) => billLink(one.billId) },
    { head: t("policy"), kind: "figures", cell: (one) => one.policyNumber || "–" },
    { head: t("channel"), cell: (one) => channelOf(t, one.channel) },
    { head: t("amount"), kind: "number", cell: (one) => amountOf(one) },
    { head: t("transaction"), kind: "figures", cell: (one) => one.transactionId || one.status },
    { head: t("state"), cell: (one) => stateOf(t, one.state) },
    { head: t("answer"), cell: (one) => one.answer || "–" },
    { head: t("hold"), cell: (one) => (one.hold ? said(t, `hold.${one.hold}`, one.hold) : "") },
    { head: t("asked"), kind: "number", cell: (one) => one.asked },
  ] }),
  bills: ({ rows, t, empty: nothing }) => table({ key: "bills", name: t("list.bills"), rows, empty: nothing, columns: [
    { head: t("created"), kind: "figures", cell: (one) => moment(one.createdAt) },
    { head: t("bill"), kind: "number", cell: (one) => billLink(one.billId) },
    { head: t("policy"), kind: "figures", cell: (one) => one.policyNumber },
    { head: t("payer"), cell: (one) => one.payer },
    { head: t("amount"), kind: "number", cell: (one) => amountOf(one) },
    { head: t("due"), kind: "figures", cell: (one) => one.dueDate },
    { head: t("state"), cell: (one) => stateOf(t, one.state) },
    { head: t("cause"), cell: (one) => one.stateCause },
  ] }),
  codes: ({ rows, t, empty: nothing }) => table({ key: "codes", name: t("list.codes"), rows, empty: nothing, columns: [
    { head: t("created"), kind: "figures", cell: (one) => moment(one.createdAt) },
    { head: t("bill"), kind: "number", cell: (one) => billLink(one.billId) },
    { head: t("policy"), kind: "figures", cell: (one) => one.policyNumber },
    { head: t("state"), cell: (one) => stateOf(t, one.state) },
    { head: t("cause"), cell: (one) => one.stateCause },
    { head: t("expires"), kind: "figures", cell: (one) => moment(one.expiresAt) },
    { head: t("polls"), kind: "number", cell: (one) => one.polls },
    { head: "MD5", kind: "figures", cell: (one) => one.payloadMd5 },
  ] }),
};
