// Events: how the outbox stands, what is parked, and having events delivered once more.

import { mayAct } from "./person.js";
import { address } from "./route.js";
import { age, cut, searchLink, stateOf } from "./shown.js";
import { element } from "../kit/dom.js";
import { count } from "../kit/amount.js";
import { writeExact } from "../kit/exact.js";
import { OFFSET, moment } from "../kit/moment.js";
import { action, badge, empty, original, table } from "../kit/parts.js";

export const everyMs = 5000;
const STATES = ["", "PENDING", "PUBLISHED", "PARKED"];

export async function load({ api, route: { query } }) {
  const [outbox, events] = await Promise.all([api.get("ops/outbox"), api.get("ops/events", filterOf(query))]);
  return { outbox, events: events.events ?? [], next: events.nextPageToken, older: [], replay: null, release: null };
}

const filterOf = ({ state }) => (state ? { "filter.state": state } : {});
export const keep = (before, after, fresh) => ({ ...(before.older.length && !fresh ? { ...before, outbox: after.outbox } : after),
  replay: before.replay, release: before.release });

export function draw(given) {
  const { data, t, now, context, person } = given;
  const { outbox } = data;
  return [
    element("h2", { class: "unseen" }, t("page.events")),
    element("dl", { class: "five" },
      tile(t("outbox.depth"), count(outbox.depth), t("outbox.depth.is")),
      tile(t("outbox.oldest"), outbox.oldestAt ? age(t, outbox.oldestAt, now) : "–", outbox.oldestAt ? moment(outbox.oldestAt) : t("outbox.empty")),
      tile(t("outbox.parked"), count((outbox.parked ?? []).length), t("outbox.parked.is")),
      tile(t("outbox.last"), outbox.lastPublishedAt ? age(t, outbox.lastPublishedAt, now) : "–", outbox.lastPublishedAt ? moment(outbox.lastPublishedAt) : ""),
      tile(t("outbox.relay"), badge(outbox.leads ? "good" : "quiet", t(outbox.leads ? "outbox.leads" : "outbox.follows")), "")),
    element("section", { class: "part" }, element("h2", {}, t("parked")), parked(given),
      data.release ? releaseForm({ ...given, selection: data.release, close: () => { data.release = null; context.redraw(); } }) : null),
    mayAct(person) ? element("section", { class: "part" }, element("h2", {}, t("replay")), selectionForm(given),
      data.replay ? replayForm({ ...given, selection: data.replay, close: () => { data.replay = null; context.redraw(); } }) : null) : null,
    element("section", { class: "part" }, element("h2", {}, t("orders")), orders(outbox.orders ?? [], t)),
    element("section", { class: "part" }, element("h2", {}, t("page.events")), states(given),
      eventTable({ ...given, rows: [...data.events, ...data.older], empty: empty(t("events.none"), t("events.none.how")),
        replay: mayAct(person) ? (event) => { data.replay = { eventId: event.eventId }; context.redraw(); } : null }),
      data.next ? element("div", {}, action({ word: t("list.older"), key: "older", done: context.redraw, run: async () => {
        const next = await context.api.get("ops/events", { ...filterOf(given.route.query), pageToken: data.next });
        data.older.push(...(next.events ?? []));
        data.next = next.nextPageToken;
      } })) : null),
  ];
}

const tile = (name, figure, more) => element("div", {}, element("dt", {}, name), element("dd", { class: "figure" }, figure), element("dd", { class: "quiet small" }, more));

const states = ({ route: { query }, t }) => element("div", {}, element("div", { class: "switch", role: "group", "aria-label": t("state") },
  STATES.map((state) => element("button", { type: "button", "data-key": `state ${state}`, "aria-pressed": String((query.state ?? "") === state),
    onclick: () => { location.hash = address("events", { state }); } }, state ? t(`state.${state}`) : t("filter.any")))));

function parked({ data, t, now, context, person }) {
  return table({ key: "parked", name: t("parked"), rows: data.outbox.parked ?? [], empty: empty(t("parked.none"), t("parked.none.how")), columns: [
    { head: t("policy"), kind: "figures", cell: (one) => searchLink(one.key) },
    { head: t("parked.waiting"), kind: "number", cell: (one) => count(one.waiting) },
    { head: t("topic"), cell: (one) => one.first?.topic },
    { head: t("event"), kind: "figures", cell: (one) => searchLink(one.first?.eventId) },
    { head: t("parked.since"), cell: (one) => age(t, one.first?.parkedAt, now) },
    { head: t("attempts"), kind: "number", cell: (one) => one.first?.attempts },
    { head: t("error"), kind: "wrap", cell: (one) => one.first?.lastError },
    { head: "", label: t("actions"), cell: (one) => (mayAct(person) ? element("div", { class: "actions" }, element("button", {
      type: "button", class: "small", "data-key": `release ${one.key}`, onclick: () => { data.release = { key: one.key }; context.redraw(); } }, t("release"))) : null) },
  ] });
}

function orders(rows, t) {
  return table({ key: "orders", name: t("orders"), rows, short: true, empty: empty(t("orders.none"), t("orders.none.how")), columns: [
    { head: t("at"), kind: "figures", cell: (one) => moment(one.requestedAt) },
    { head: t("order"), cell: (one) => t(`order.${one.kind}`) },
    { head: t("who"), cell: (one) => one.requestedBy },
    { head: t("reason"), kind: "wrap", cell: (one) => one.reason },
    { head: t("order.which"), kind: "wrap", cell: (one) => one.selection },
    { head: t("order.events"), kind: "number", cell: (one) => count(one.events) },
    { head: t("order.outstanding"), kind: "number", cell: (one) => count(one.outstanding) },
  ] });
}

export function eventTable({ rows, t, empty: nothing, replay, person }) {
  const words = { copy: t("copy"), copied: t("copied") };
  return table({ key: "events", name: t("page.events"), rows, empty: nothing, columns: [
    { head: t("created"), kind: "figures", cell: (one) => moment(one.createdAt) },
    { head: t("topic"), cell: (one) => one.topic },
    { head: t("policy"), kind: "figures", cell: (one) => searchLink(one.key) },
    { head: t("state"), cell: (one) => [stateOf(t, one.state), one.lastError ? element("span", { class: "quiet small" }, ` ${one.lastError}`) : null] },
    { head: t("partition"), kind: "number", cell: (one) => (one.publishedAt ? one.partition : "–") },
    { head: t("offset"), kind: "number", cell: (one) => (one.publishedAt ? one.offset : "–") },
    { head: t("replays"), kind: "number", cell: (one) => one.replays },
    { head: t("event"), kind: "wrap", cell: (one) => original({ key: `event ${one.eventId}`, title: cut(one.eventId), text: pretty(one.value), words }) },
    { head: "", label: t("actions"), cell: (one) => (replay && mayAct(person) && one.state === "PUBLISHED" ? element("div", { class: "actions" },
      element("button", { type: "button", class: "small", "data-key": `replay ${one.eventId}`, "aria-label": t("replay.one", { event: one.eventId }),
        onclick: () => replay(one) }, t("replay.do"))) : null) },
  ] });
}

const pretty = (text) => {
  try {
    return JSON.stringify(JSON.parse(text), null, 2); // amounts of events are texts already
  } catch {
    return text ?? "";
  }
};

function selectionForm({ data, t, context }) {
  const field = (name, more = {}) => element("div", { class: "field" }, element("label", { for: `replay-${name}` }, t(`replay.${name}`)),
    element("input", { id: `replay-${name}`, name, "data-key": `replay ${name}`, ...more }));
  const instant = (text) => (text ? `${text.length === 16 ? `${text}:00` : text}${OFFSET}` : undefined);
  return element("form", { class: "form", onsubmit: (event) => {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(event.target));
    const selection = { eventId: given.eventId.trim(), key: given.key.trim(), topic: given.topic.trim(), since: instant(given.since), until: instant(given.until) };
    const chosen = Object.fromEntries(Object.entries(selection).filter(([, value]) => value));
    if (!Object.keys(chosen).length) { context.say(t("replay.nothing")); return; }
    data.replay = chosen;
    context.redraw();
  } }, field("eventId"), field("key"), field("topic"), field("since", { type: "datetime-local", step: "1" }), field("until", { type: "datetime-local", step: "1" }),
  element("button", { type: "submit", "data-key": "replay list" }, t("replay.list")));
}

// First a dry run that lists what would be sent, then a reason, then the act.
export const replayForm = (given) => confirmed({ ...given, path: "ops/replays", word: given.t("replay.send"), done: "replay.done" });
const releaseForm = (given) => confirmed({ ...given, path: "ops/releases", word: given.t("release"), done: "release.done" });

// What a selection would do is asked once for each time that somebody chose it: the object that
// was made then is the key.
const trials = new WeakMap();

function confirmed({ selection, path, word, done, close, t, context }) {
  const trial = trials.get(selection) ?? {};
  const body = (more) => `{"selection":${writeExact(selection)},${writeExact(more).slice(1)}`;
  if (!trials.has(selection)) {
    trials.set(selection, trial);
    context.api.post(path, body({ dryRun: true })).then((answer) => { trial.answer = answer; }, (problem) => { trial.problem = problem; }).finally(context.redraw);
  }
  const which = Object.entries(selection).map(([name, value]) => `${t(`replay.${name}`)} ${value}`).join(" · ");
  if (trial.problem) return element("div", { class: "would" }, element("p", { class: "bad" }, `✕ ${trial.problem.message} ${trial.problem.details ?? ""}`), back(t, close));
  if (!trial.answer) return element("div", { class: "would" }, element("p", { class: "quiet" }, `… ${t("loading")}`));
  const { events, topics = [], sample = [] } = trial.answer;
  const reason = element("input", { id: "would-reason", "data-key": "would reason", maxlength: "500", autocomplete: "off" });
  return element("div", { class: "would", role: "group", "aria-label": word },
    element("p", {}, element("strong", {}, t("would", { events: count(events) })), " ", which, ". ",
      topics.map((one) => `${one.topic} ${count(one.events)}`).join(" · ")),
    sample.length ? eventSample(sample, t) : null,
    Number(events) ? element("form", { class: "form", onsubmit: (event) => event.preventDefault() },
      element("div", { class: "field long" }, element("label", { for: "would-reason" }, t("reason")), reason),
      action({ word, key: "would do", kind: "primary", run: async () => {
        if (!reason.value.trim()) { reason.focus(); throw new Error(t("reason.missing")); }
        const answer = await context.api.post(path, body({ reason: reason.value.trim() }));
        context.say(t(done, { events: count(answer.events) }));
        close();
      }, done: context.reload }), back(t, close)) : back(t, close));
}

const back = (t, close) => element("button", { type: "button", "data-key": "would close", onclick: close }, t("cancel"));

const eventSample = (rows, t) => table({ key: "sample", name: t("would.sample"), rows, short: true, empty: null, columns: [
  { head: t("created"), kind: "figures", cell: (one) => moment(one.createdAt) },
  { head: t("topic"), cell: (one) => one.topic },
  { head: t("policy"), kind: "figures", cell: (one) => one.key },
  { head: t("event"), kind: "figures", cell: (one) => one.eventId },
] });
