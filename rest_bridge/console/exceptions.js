// Exceptions: what needs a person, oldest first. One person proposes, another one approves.

import { evidence } from "./evidence.js";
import { mayAct } from "./person.js";
import { address } from "./route.js";
import { age, amountOf, billLink, channelOf, said, stateOf } from "./shown.js";
import { element, fold } from "../kit/dom.js";
import { writeExact } from "../kit/exact.js";
import { moment } from "../kit/moment.js";
import { action, empty, loading } from "../kit/parts.js";

export const everyMs = 10_000;
const STATES = ["", "OPEN", "PROPOSED", "REFUNDING", "RESOLVED"];
const SHORTEST_REASON = 3;

export async function load({ api, route: { query } }) {
  return { page: await api.get("ops/exceptions", query.state ? { "filter.state": query.state } : {}), more: [] };
}

export const keep = (before, after, fresh) => (before.more.length && !fresh ? before : after);

export function draw(given) {
  const { data, route: { query }, t, context } = given;
  const rows = [...(data.page.exceptions ?? []), ...data.more];
  return [
    element("section", { class: "part" },
      element("h2", {}, t("page.exceptions"), element("span", { class: "quiet small" }, t("exceptions.order"))),
      element("div", {}, element("div", { class: "switch", role: "group", "aria-label": t("state") }, STATES.map((state) => element("button", {
        type: "button", "data-key": `state ${state}`, "aria-pressed": String((query.state ?? "") === state),
        onclick: () => { location.hash = address("exceptions", { state }); } }, state ? t(`exceptions.${state}`) : t("exceptions.all"))))),
      rows.length ? rows.map((one) => exceptionPart({ ...given, one }))
        : element("div", { class: "frame" }, empty(t("exceptions.none"), t("exceptions.none.how")))),
    data.page.nextPageToken ? element("div", {}, action({ word: t("list.more"), key: "more", done: context.redraw, run: async () => {
      const next = await context.api.get("ops/exceptions", { pageToken: data.page.nextPageToken, ...(query.state ? { "filter.state": query.state } : {}) });
      data.more.push(...(next.exceptions ?? []));
      data.page = { ...data.page, nextPageToken: next.nextPageToken };
    } })) : null,
  ];
}

const kindOf = (one) => one.exceptionId.split("-")[0];

function explained(t, one) {
  if (one.state === "RESOLVED") return said(t, "explain.resolved", one.explanation);
  if (one.state === "REFUNDING") return said(t, "explain.refunding", one.explanation);
  return said(t, `explain.${kindOf(one)}.${one.hold}`, one.explanation);
}

export function exceptionPart(given) {
  const { one, t, now, context, person } = given;
  const open = (one.proposals ?? []).find((proposal) => proposal.state === "PROPOSED");
  const past = (one.proposals ?? []).filter((proposal) => proposal !== open);
  return element("article", { class: "exception", "aria-label": one.exceptionId },
    element("header", {},
      stateOf(t, one.state, one.state === "OPEN" ? "exception" : ""),
      element("span", { class: "sum" }, amountOf(one)),
      element("span", {}, said(t, `hold.${one.hold}`, one.hold)),
      element("span", { class: "quiet", title: moment(one.since) }, t("exceptions.age", { age: age(t, one.since, now) })),
      element("span", { class: "quiet" }, `${t("bill")} `, billLink(one.billId)),
      one.policyNumber ? element("span", { class: "quiet figures" }, one.policyNumber) : null,
      element("span", { class: "quiet" }, [one.bankCode, channelOf(t, one.channel), one.transactionId].filter(Boolean).join(" · ")),
      element("span", { class: "quiet small" }, one.exceptionId)),
    element("p", {}, explained(t, one)),
    open ? openProposal({ ...given, proposal: open }) : null,
    !open && one.actions?.length ? (mayAct(person) ? proposalForm(given) : element("p", { class: "quiet" }, t("exceptions.may.not"))) : null,
    past.map((proposal) => pastProposal(t, proposal)),
    evidenceFold(one, t, context));
}

function evidenceFold(one, t, context) {
  const kept = context.cases[one.billId];
  const made = fold(t("exceptions.evidence"), `evidence ${one.exceptionId}`,
    kept ? evidence({ found: kept.found, picked: kept.picked, pick: context.redraw, t }) : loading(t("loading")));
  made.addEventListener("toggle", async () => {
    if (!made.open || context.cases[one.billId]) return;
    context.cases[one.billId] = { found: await context.api.get(`ops/cases/${one.billId}`), picked: {} };
    context.redraw();
  });
  return made;
}

function whatOf(t, proposal) {
  const detail = proposal.action === "APPLY" ? t("proposal.bill", { bill: proposal.billId })
    : proposal.action === "REFUNDED" ? t("proposal.reference", { reference: proposal.bankReference }) : "";
  return `${t(`action.${proposal.action}`)}${detail ? ` · ${detail}` : ""}`;
}

function openProposal({ proposal, t, person, context, now }) {
  const isMine = proposal.proposedBy === person.subject;
  const key = `reason ${proposal.proposalId}`;
  const reason = element("input", { id: key.replace(" ", "-"), "data-key": key, maxlength: "500", autocomplete: "off" });
  const decide = (verdict) => async () => {
    await context.api.post(`ops/proposals/${proposal.proposalId}/decision`, writeExact({ verdict, reason: checked(reason, t) }));
    reason.value = "";
    context.say(t(verdict === "APPROVE" ? "proposal.approved" : "proposal.rejected"));
  };
  const button = (verdict, word, kind) => action({ word, key: `${verdict} ${proposal.proposalId}`, kind, run: decide(verdict), done: context.reload });
  return element("div", { class: "proposal" },
    element("p", {}, element("strong", {}, whatOf(t, proposal)), " — ", proposal.reason),
    element("p", { class: "quiet small" }, t("proposal.by", { who: proposal.proposedBy, age: age(t, proposal.proposedAt, now) }), " ",
      isMine ? t("proposal.mine") : t("proposal.other", { who: proposal.proposedBy })),
    mayAct(person) ? element("form", { onsubmit: (event) => event.preventDefault() },
      element("div", { class: "field reason" }, element("label", { for: reason.id }, t("reason")), reason),
      isMine ? null : button("APPROVE", t("approve"), "primary"),
      button("REJECT", t(isMine ? "take.back" : "reject"), isMine ? null : "danger")) : null);
}

const pastProposal = (t, one) => element("div", { class: "proposal past quiet small" },
  element("p", {}, stateOf(t, one.state), ` ${whatOf(t, one)} — ${one.reason}`),
  element("p", {}, t("proposal.past", { by: one.proposedBy, at: moment(one.proposedAt), decider: one.decidedBy ?? "–", decided: moment(one.decidedAt), why: one.decisionReason ?? "" })));

function checked(input, t) {
  const text = input.value.trim();
  if (text.length < SHORTEST_REASON) {
    input.focus();
    throw new Error(t("reason.missing"));
  }
  return text;
}

function proposalForm({ one, t, context }) {
  const id = one.exceptionId;
  const field = (name, label, made, long) => element("div", { class: long ? "field reason" : "field" }, element("label", { for: made.id }, label), made);
  const kind = element("select", { id: `action-${id}`, "data-key": `action ${id}`, onchange: () => context.redraw() },
    one.actions.map((name) => element("option", { value: name }, t(`action.${name}`))));
  const kept = document.querySelector(`[data-key="${CSS.escape(`action ${id}`)}"]`)?.value;
  if (kept && one.actions.includes(kept)) kind.value = kept;
  const bill = element("input", { id: `bill-${id}`, "data-key": `bill of ${id}`, inputmode: "numeric", list: `fits-${id}`, size: "12",
    value: one.fittingBillIds?.[0] ?? "" });
  const reference = element("input", { id: `reference-${id}`, "data-key": `reference ${id}`, maxlength: "64" });
  const reason = element("input", { id: `why-${id}`, "data-key": `why ${id}`, maxlength: "500", autocomplete: "off" });
  return element("form", { onsubmit: (event) => event.preventDefault() },
    field("action", t("action"), kind),
    kind.value === "APPLY" ? [field("bill", t("action.bill"), bill),
      element("datalist", { id: `fits-${id}` }, (one.fittingBillIds ?? []).map((value) => element("option", { value })))] : null,
    kind.value === "REFUNDED" ? field("reference", t("action.reference"), reference) : null,
    field("why", t("reason"), reason, true),
    action({ word: t("propose"), key: `propose ${id}`, kind: "primary", done: context.reload, run: async () => {
      await context.api.post(`ops/exceptions/${encodeURIComponent(id)}/proposals`, writeExact({
        action: kind.value, billId: kind.value === "APPLY" ? bill.value.trim() : undefined,
        bankReference: kind.value === "REFUNDED" ? reference.value.trim() : undefined, reason: checked(reason, t) }, ["billId"]));
      reason.value = "";
      context.say(t("proposal.made"));
    } }));
}
