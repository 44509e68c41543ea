// The back office, and the loop that keeps the page true.

import { get, post } from "./api.js";
import { element, moment, money, pairs, put, state, table } from "./dom.js";
import { startPhone } from "./phone.js";

const PAUSE_MS = 1500;
const NOTICE_MS = 6000;
let shown = "";
let chosen = null;
let noticeTimer = 0;

const phone = startPhone({ refresh });

function tell(words) {
  const notice = document.getElementById("notice");
  notice.textContent = words;
  notice.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => { notice.hidden = true; }, NOTICE_MS);
}

function action(word, label, run) {
  // The key lets the focus find its button again after the table was drawn anew.
  return element("button", {
    type: "button", "aria-label": label, "data-key": label,
    onclick: async (event) => {
      event.currentTarget.disabled = true;
      try {
        await run();
      } catch (problem) {
        tell(problem.message);
      }
      shown = "";
      refresh();
    },
  }, word);
}

function policyRow(policy) {
  const path = `/sandbox/policies/${encodeURIComponent(policy.number)}`;
  const settledBy = policy.settledBy && `settled by ${by(policy.settledBy)}`;
  const note = [settledBy, policy.applicationNumber, policy.note].filter(Boolean).join(" · ");
  return [
    policy.number,
    policy.payer,
    money(policy.amount, policy.currency),
    policy.dueDate,
    state(policy.due ? "DUE" : "SETTLED"),
    note,
    element("div", { class: "actions" },
      action("See", `See the bill of ${policy.number}`, () => phone.lookUp(policy.number)),
      action("Raise", `Raise the premium of ${policy.number}`, () => post(`${path}/premium`)),
      policy.due
        ? action("Settle", `Nothing due on ${policy.number}`, () => post(`${path}/settle`))
        : action("Make due", `Make ${policy.number} due again`, () => post(`${path}/due`))),
  ];
}

const by = (settledBy) => (settledBy === "operator" ? "its operator" : "a success event");

function answerWords(transfer) {
  const [latest] = transfer.answers;
  if (!latest) return "not sent yet";
  return latest.status === null ? latest.answer : `${latest.status} in ${latest.elapsedMs} ms`;
}

function transferRow(transfer) {
  const number = transfer.bankTransactionId;
  const path = `/sandbox/transfers/${encodeURIComponent(number)}`;
  const open = element("button", {
    type: "button", class: "plain", "data-key": `open ${number}`,
    onclick: () => { chosen = number; shown = ""; refresh({ focusDetail: true }); },
  }, number);
  const waits = transfer.state === "REFUSED" || (transfer.state === "PENDING" && !transfer.nextSendAt);
  return [
    open,
    String(transfer.billId),
    money(transfer.amount, transfer.currency),
    moment(transfer.paidAt),
    state(transfer.state),
    answerWords(transfer),
    String(transfer.attempts),
    element("div", { class: "actions" },
      action("Send again", `Send the webhook of ${number} again`, () => post(`${path}/resend`)),
      waits ? action("Reverse", `Give ${number} back`, () => post(`${path}/reverse`)) : null),
  ];
}

function showDetail(transfers) {
  const transfer = transfers.find((one) => one.bankTransactionId === chosen);
  document.getElementById("detail-part").hidden = !transfer;
  if (!transfer) return;
  put("detail-title", `Webhook of ${transfer.bankTransactionId}`);
  const next = transfer.nextSendAt ? ` Sent again by itself at ${moment(transfer.nextSendAt)}.` : "";
  put("detail",
    element("h3", {}, "What the bank sent, byte for byte"),
    element("pre", {}, transfer.body),
    element("h3", {}, `What we answered, latest first.${next}`),
    ...transfer.answers.flatMap((one) => [
      element("p", {}, `${moment(one.sentAt)} · ${one.sentBy.toLowerCase()} · `
        + `${one.status ?? "no answer"} in ${one.elapsedMs} ms`),
      element("pre", {}, one.answer || "(empty)"),
    ]));
}

function draw(found) {
  const focused = document.activeElement?.dataset?.key;
  put("numbers", ...found.policies.flatMap((policy) => [policy.number, policy.applicationNumber])
    .filter(Boolean).map((number) => element("option", { value: number })));
  put("accounts", ...pairs(found.accounts.filter((one) => one.kind !== "BANK")
    .map((one) => [one.holder, money(one.balance, one.currency)])));
  put("policies", table([["Policy", "code"], ["Payer", ""], ["Premium", "number"], ["Due on", "code"],
    ["State", ""], ["Note", "remark"], ["", "actions-cell"]], found.policies.map(policyRow), "No policies."));
  put("transfers", table([["Transfer", "code"], ["Bill", "number"], ["Amount", "number"],
    ["Paid at", "code"], ["State", ""], ["Our answer", ""], ["Tries", "number"], ["", "actions-cell"]],
  found.transfers.map(transferRow),
  "No transfers yet. Choose “See” beside a policy and pay its bill on the phone."));
  put("events", table([["Event", "code"], ["Policy", "code"], ["Effect", ""], ["Seen at", "code"]],
    found.events.map((one) => [one.eventId, one.policyNumber,
      one.settled ? "premium settled" : "no such premium", moment(one.seenAt)]),
    "None yet. When the gateway says that a premium is settled, it appears here and the policy has nothing due."));
  showDetail(found.transfers);
  if (focused) document.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

async function refresh({ focusDetail = false } = {}) {
  const connection = document.getElementById("connection");
  try {
    const found = await get("/sandbox/state");
    const text = JSON.stringify(found);
    if (text !== shown) {
      shown = text;
      draw(found);
    }
    if (focusDetail) document.getElementById("detail-title").focus();
    connection.textContent = "✓ Connected";
    connection.className = "state good";
  } catch (problem) {
    connection.textContent = `✕ ${problem.message}`;
    connection.className = "state bad";
  }
}

async function keepTrue() {
  if (!document.hidden) await refresh();
  setTimeout(keepTrue, PAUSE_MS);
}

put("policies", element("p", { class: "empty" }, "… Loading"));
put("transfers", element("p", { class: "empty" }, "… Loading"));
put("events", element("p", { class: "empty" }, "… Loading"));
keepTrue();
