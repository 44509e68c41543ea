// The bank's back office: what happened, payments, webhooks, codes, accounts, calls, events.

import { post } from "./api.js";
import { policyOf, storyOf } from "./story.js";
import { element, fold } from "../kit/dom.js";
import { money } from "../kit/amount.js";
import { local, moment } from "../kit/moment.js";
import { action, badge, empty, original, table, whole } from "../kit/parts.js";

const TONES = {
  CONFIRMED: "good", PENDING: "wait", REVERSED: "back", REFUSED: "bad", DUE: "due", SETTLED: "good", LIVE: "due",
  PAID: "good", EXPIRED: "quiet", WITHHELD: "quiet", ON: "warn", OFF: "quiet",
};

export const stateBadge = (t, name) => badge(TONES[name], t(`state.${name}`));
const nothing = (t, what) => empty(t(`empty.${what}`), t(`empty.${what}.how`));
const clock = (text) => local(text)?.time ?? "–";

function answered(t, { status, answer, elapsedMs, ms = elapsedMs }) {
  return status === null ? t("not.answered", { why: answer }) : t("answered", { status, ms });
}

function exchange(t, key, title, asked, askedTitle, answer, answerTitle) {
  const words = { copy: t("copy"), copied: t("copied") };
  return fold(title, key, element("div", { class: "two" },
    [[askedTitle, asked, "asked"], [answerTitle, answer, "answer"]].map(([head, text, part]) => element("div", {},
      element("h3", {}, head), whole({ key: `${key} ${part}`, title: head, text: text || t("nothing.sent"), words })))));
}

export const sent = (t, key, body, answer) =>
  exchange(t, key, t("body.answer"), body, t("sent.body"), answer, t("got.answer"));
export const heard = (t, key, call) =>
  exchange(t, key, t("asked.answer"), call.asked, t("got.question"), call.answer, t("gave.answer"));

export function storyPanel({ found, t }) {
  const bill = found.latestBillId;
  if (bill === null) return nothing(t, "story");
  const story = storyOf(found, bill);
  const amountOf = (step) => money(step.amount ?? story.amount, step.currency ?? story.currency);
  const words = (step) => t(step.kind === "event" && !step.settled ? "step.event.none" : `step.${step.kind}`, {
    query: step.query, bill, amount: step.kind === "lookUp" ? lookUpAmount(found, bill) : amountOf(step),
    number: step.number, status: step.status, policy: story.policy ?? "",
  });
  return element("ol", { class: "story" }, story.steps.map((step, at) => element("li", {},
    element("span", { class: "figures quiet" }, clock(step.at)),
    element("span", { class: "who" }, `${t(`who.${step.from}`)} → ${t(`who.${step.to}`)}`),
    element("div", {}, words(step),
      step.sending ? [" ", answered(t, step.sending), sent(t, `story ${at}`, step.body, step.sending.answer)] : null,
      step.call ? [" ", answered(t, step.call), heard(t, `story ${at}`, step.call)] : null))));
}

function lookUpAmount(found, bill) {
  const one = found.transfers.find((transfer) => transfer.billId === bill) ?? found.lookUps.find((look) => look.billId === bill);
  return money(one?.amount, one?.currency);
}

export function transferPanel({ found, t, done }) {
  return table({ key: "transfers", name: t("tab.transfers"), rows: found.transfers, empty: nothing(t, "transfers"), columns: [
    { head: t("time"), kind: "figures", cell: (one) => moment(one.paidAt) },
    { head: t("transfer"), kind: "figures", cell: (one) => one.bankTransactionId },
    { head: t("channel"), cell: (one) => (one.channel === "KHQR" ? t("phone.by.code") : t("phone.by.bill")) },
    { head: t("bill"), kind: "number", cell: (one) => one.billId },
    { head: t("amount"), kind: "number", cell: (one) => money(one.amount, one.currency) },
    { head: t("state"), cell: (one) => stateBadge(t, one.state) },
    { head: t("tries"), kind: "number", cell: (one) => one.attempts },
    { head: "", label: t("actions"), cell: (one) => transferActions(one, t, done) },
  ] });
}

function transferActions(one, t, done) {
  const number = one.bankTransactionId;
  const path = `sandbox/transfers/${encodeURIComponent(number)}`;
  const waits = one.channel === "BILL"
    && (one.state === "REFUSED" || (one.state === "PENDING" && !one.nextSendAt));
  return element("div", { class: "actions" },
    action({ word: t("do.resend"), label: t("do.resend.of", { number }), kind: "small", run: () => post(`${path}/resend`), done }),
    waits ? action({ word: t("do.reverse"), label: t("do.reverse.of", { number }), kind: "small danger",
      run: () => post(`${path}/reverse`), done }) : null);
}

// Webhooks of bills and of codes alike, one row for each time one was sent or waits to be.
export function webhookPanel({ found, t, done }) {
  const ofBills = found.transfers.filter((one) => one.channel === "BILL").map((one) => ({
    ...one, name: one.bankTransactionId, status: "", fault: null, path: `sandbox/transfers/${encodeURIComponent(one.bankTransactionId)}/resend` }));
  const ofCodes = found.notices.map((one) => ({
    ...one, name: `No. ${one.id}`, status: JSON.parse(one.body).status, path: `sandbox/notices/${one.id}/resend` }));
  const rows = [...ofBills, ...ofCodes].flatMap((one) => (one.answers.length
    ? one.answers.map((sending, at) => ({ one, sending, at })) : [{ one, sending: null, at: 0 }]));
  // What waits to be sent stands first; within a second the later transfer does.
  const when = ({ one, sending }) => `${sending?.sentAt ?? "~"} ${one.bankTransactionId ?? ""}`;
  rows.sort((a, b) => (when(a) < when(b) ? 1 : when(a) > when(b) ? -1 : 0));
  return table({ key: "webhooks", name: t("tab.webhooks"), rows, empty: nothing(t, "webhooks"), columns: [
    { head: t("time"), kind: "figures", cell: ({ sending }) => (sending ? moment(sending.sentAt) : t("not.sent")) },
    { head: t("webhook"), kind: "figures", cell: ({ one }) => one.name },
    { head: t("bill"), kind: "number", cell: ({ one }) => one.billId },
    { head: t("answer"), kind: "wrap", cell: ({ one, sending, at }) => [
      one.status ? `${one.status} · ` : null,
      sending ? [answered(t, sending), " ", t(`by.${sending.sentBy}`), " "] : null,
      at === 0 && one.nextSendAt ? t("sent.next", { at: moment(one.nextSendAt) }) : null,
      sent(t, `webhook ${one.name} ${sending?.sentAt ?? ""} ${at}`, one.body, sending?.answer ?? "")] },
    { head: t("state"), cell: ({ one }) => stateBadge(t, one.state) },
    { head: t("fault"), kind: "figures", cell: ({ one }) => one.fault ?? "" },
    { head: "", label: t("actions"), cell: ({ one, at }) => (at === 0 ? element("div", { class: "actions" }, action({
      word: t("do.resend"), label: t("do.resend.of", { number: one.name }), kind: "small", run: () => post(one.path), done })) : null) },
  ] });
}

export function codePanel({ found, t, phone }) {
  const words = { copy: t("copy"), copied: t("copied") };
  return table({ key: "codes", name: t("tab.codes"), rows: found.codes, empty: nothing(t, "codes"), columns: [
    { head: t("code"), kind: "number", cell: (one) => one.id },
    { head: t("bill"), kind: "number", cell: (one) => one.billId },
    { head: t("policy"), kind: "figures", cell: (one) => policyOf(found, one) ?? t("not.told") },
    { head: t("amount"), kind: "number", cell: (one) => money(one.amount, one.currency) },
    { head: t("state"), cell: (one) => stateBadge(t, one.state) },
    { head: t("paid"), kind: "number", cell: (one) => `${one.timesPaid} ×` },
    { head: t("until"), kind: "figures", cell: (one) => moment(one.expiresAt) },
    { head: t("payload"), kind: "wrap", cell: (one) => original({ key: `payload ${one.id}`, title: `MD5 ${one.md5.slice(0, 8)}…`, text: one.payload, words }) },
    { head: "", label: t("actions"), cell: (one) => element("div", { class: "actions" }, action({
      word: t("do.show"), label: t("do.show.of", { number: one.id }), kind: "small", run: () => phone.drawCode(one) })) },
  ] });
}

export function accountPanel({ found, t }) {
  return table({ key: "accounts", name: t("tab.accounts"), rows: found.accounts, empty: nothing(t, "accounts"), columns: [
    { head: t("account"), kind: "figures", cell: (one) => one.id },
    { head: t("payer"), cell: (one) => t(`kind.${one.kind}`) },
    { head: t("balance"), kind: "number", cell: (one) => money(one.balance, one.currency) },
  ] });
}

export function callPanel({ found, t, done }) {
  const counts = Object.entries(found.callCounts).map(([endpoint, n]) => `${endpoint} ${n}`).join(" · ") || "0";
  return [
    element("p", { class: "quiet small" }, t("calls.counts", { counts, given: found.tokens.given, good: found.tokens.good }), " ",
      action({ word: t("do.revoke"), label: t("do.revoke"), kind: "small", run: () => post("sandbox/tokens/revoke"), done })),
    table({ key: "calls", name: t("tab.calls"), rows: found.calls, empty: nothing(t, "calls"), columns: [
      { head: t("time"), kind: "figures", cell: (one) => moment(one.receivedAt) },
      { head: t("call"), cell: (one) => one.endpoint },
      { head: t("bill"), kind: "number", cell: (one) => { const said = JSON.parse(one.asked); return said.txId ?? said.billNumber ?? ""; } },
      { head: t("status"), kind: "number", cell: (one) => one.status ?? t("none") },
      { head: t("took"), kind: "number", cell: (one) => `${one.elapsedMs} ms` },
      { head: t("fault"), kind: "figures", cell: (one) => one.fault ?? "" },
      { head: t("answer"), kind: "wrap", cell: (one) => heard(t, `call ${one.id}`, one) },
    ] }),
  ];
}

export function eventPanel({ found, t }) {
  return table({ key: "events", name: t("tab.events"), rows: found.events, empty: nothing(t, "events"), columns: [
    { head: t("time"), kind: "figures", cell: (one) => moment(one.seenAt) },
    { head: t("policy"), kind: "figures", cell: (one) => one.policyNumber },
    { head: t("effect"), cell: (one) => badge(one.settled ? "good" : "quiet", t(one.settled ? "event.settled" : "event.unknown")) },
    { head: t("event"), kind: "figures", cell: (one) => one.eventId },
  ] });
}
