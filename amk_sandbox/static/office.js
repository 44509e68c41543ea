// The back office: policies, transfers of both channels, and what was answered.

import { post } from "./api.js";
import { action, opener } from "./action.js";
import { element, moment, money, state, table } from "./dom.js";

const by = (settledBy) => (settledBy === "operator" ? "its operator" : "a success event");

export function policyTable(policies, { phone, done }) {
  return table([["Policy", "code"], ["Payer", ""], ["Premium", "number"], ["Due on", "code"],
    ["State", ""], ["Note", "remark"], ["", "actions-cell"]], policies.map((policy) => {
    const path = `/sandbox/policies/${encodeURIComponent(policy.number)}`;
    const settledBy = policy.settledBy && `settled by ${by(policy.settledBy)}`;
    return [
      policy.number,
      policy.payer,
      money(policy.amount, policy.currency),
      policy.dueDate,
      state(policy.due ? "DUE" : "SETTLED"),
      [settledBy, policy.applicationNumber, policy.note].filter(Boolean).join(" · "),
      element("div", { class: "actions" },
        action("See", `See the bill of ${policy.number}`, () => phone.lookUp(policy.number), done),
        action("Code", `Show a code for ${policy.number}`, () => phone.showCode(policy.number), done),
        action("Raise", `Raise the premium of ${policy.number}`, () => post(`${path}/premium`), done),
        policy.due
          ? action("Settle", `Nothing due on ${policy.number}`, () => post(`${path}/settle`), done)
          : action("Make due", `Make ${policy.number} due again`, () => post(`${path}/due`), done)),
    ];
  }), "No policies.");
}

export function answerWords([latest]) {
  if (!latest) return "not sent yet";
  return latest.status === null ? latest.answer : `${latest.status} in ${latest.elapsedMs} ms`;
}

export const noticesOf = (transfer, notices) => notices.filter(
  (notice) => notice.bankTransactionId === transfer.bankTransactionId);

export function transferTable(transfers, notices, { choose, done }) {
  return table([["Transfer", "code"], ["By", ""], ["Bill", "number"], ["Amount", "number"],
    ["Paid at", "code"], ["State", ""], ["Our answer", ""], ["Tries", "number"], ["", "actions-cell"]],
  transfers.map((transfer) => {
    const number = transfer.bankTransactionId;
    const path = `/sandbox/transfers/${encodeURIComponent(number)}`;
    const isCode = transfer.channel === "KHQR";
    const waits = !isCode
      && (transfer.state === "REFUSED" || (transfer.state === "PENDING" && !transfer.nextSendAt));
    const answers = isCode
      ? noticesOf(transfer, notices).flatMap((notice) => notice.answers) : transfer.answers;
    return [
      opener(number, `open ${number}`, () => choose("transfer", number)),
      isCode ? "code" : "bill",
      String(transfer.billId),
      money(transfer.amount, transfer.currency),
      moment(transfer.paidAt),
      state(transfer.state),
      answerWords(answers),
      String(transfer.attempts),
      element("div", { class: "actions" },
        action("Send again", `Send the webhook of ${number} again`, () => post(`${path}/resend`), done),
        waits ? action("Reverse", `Give ${number} back`, () => post(`${path}/reverse`), done) : null),
    ];
  }), "No transfers yet. Choose “See” or “Code” beside a policy and pay on the phone.");
}

export function eventTable(events) {
  return table([["Event", "code"], ["Policy", "code"], ["Effect", ""], ["Seen at", "code"]],
    events.map((one) => [one.eventId, one.policyNumber,
      one.settled ? "premium settled" : "no such premium", moment(one.seenAt)]),
    "None yet. When the gateway says that a premium is settled, it appears here and the policy has nothing due.");
}
