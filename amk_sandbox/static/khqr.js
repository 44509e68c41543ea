// Codes, their webhooks, the calls that the bank received, and what can go wrong with all.

import { post } from "./api.js";
import { action, opener } from "./action.js";
import { element, moment, money, state, table } from "./dom.js";
import { answerWords } from "./office.js";

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

export function codeTable(codes, { phone, choose, done }) {
  return table([["Code", "code"], ["Bill", "number"], ["Amount", "number"], ["Policy", "code"], ["State", ""],
    ["Paid", "number"], ["Expires at", "code"], ["", "actions-cell"]],
  codes.map((code) => [
    opener(`No. ${code.id}`, `open code ${code.id}`, () => choose("code", code.id)),
    String(code.billId),
    money(code.amount, code.currency),
    code.policyNumber ?? "not told",
    state(code.state),
    plural(code.timesPaid, "time"),
    moment(code.expiresAt),
    element("div", { class: "actions" },
      action("Show", `Show code ${code.id} of bill ${code.billId}`, () => phone.drawCode(code), done),
      action(code.isBillPaid ? "Pay again" : "Scan and pay", `Scan and pay code ${code.id} of bill ${code.billId}`,
        () => phone.payCode(code), done)),
  ]), "No codes yet. Choose “Code” beside a policy: the insurer asks the bank's generator for one.");
}

export function noticeTable(notices, { choose, done }) {
  return table([["Webhook", "code"], ["Bill", "number"], ["Transfer", "code"], ["Says", ""], ["State", ""],
    ["Our answer", ""], ["Tries", "number"], ["Fault", "code"], ["", "actions-cell"]],
  notices.map((notice) => [
    opener(`No. ${notice.id}`, `open notice ${notice.id}`, () => choose("notice", notice.id)),
    String(notice.billId),
    notice.bankTransactionId ?? "no money moved",
    JSON.parse(notice.body).status,
    state(notice.state),
    answerWords(notice.answers),
    String(notice.attempts),
    notice.fault ?? "",
    element("div", { class: "actions" },
      action("Send again", `Send webhook ${notice.id} again`,
        () => post(`/sandbox/notices/${notice.id}/resend`), done)),
  ]), "No webhooks of codes yet. Pay a code on the phone.");
}

export function callTable(calls, { choose }) {
  return table([["Call", "code"], ["Received at", "code"], ["Bill", "number"], ["Status", "number"],
    ["Answer", ""], ["Took", "number"], ["Fault", "code"]],
  calls.map((call) => {
    const asked = JSON.parse(call.asked);
    return [
      opener(`${call.endpoint} ${call.id}`, `open call ${call.id}`, () => choose("call", call.id)),
      moment(call.receivedAt),
      asked.txId ?? asked.billNumber ?? "",
      call.status === null ? "none" : String(call.status),
      callWords(call),
      `${call.elapsedMs} ms`,
      call.fault ?? "",
    ];
  }), "None yet. Sign-in, generator and payment-verify are listed here as the insurer calls them.");
}

function callWords(call) {
  try {
    const answer = JSON.parse(call.answer);
    if (answer.code === undefined) return Object.keys(answer).join(", ");
    return [answer.code, answer.data?.status ?? answer.message].join(" ");
  } catch {
    return call.answer.slice(0, 40);
  }
}

export function countWords({ callCounts, tokens }) {
  const calls = Object.entries(callCounts).map(([endpoint, count]) => `${endpoint} ${count}`).join(" · ");
  return `${calls || "no calls"} · tokens given ${tokens.given}, good now ${tokens.good}`;
}

export function revokeAction(done) {
  return action("Revoke all tokens", "Revoke all tokens", () => post("/sandbox/tokens/revoke"), done);
}

export function faultTable(faults, { done }) {
  return table([["Fault", "code"], ["What happens", "remark wide"], ["Policy", "code"], ["State", ""], ["", "actions-cell"]],
    faults.map((fault) => {
      const path = `/sandbox/faults/${fault.code}`;
      const button = (word, times) => action(word, `${fault.code}: ${word}`,
        () => post(`${path}/on`, times ? { times } : undefined), done);
      return [
        fault.code,
        fault.words,
        fault.policy ?? "by switch alone",
        state(fault.on ? "ON" : "OFF"),
        element("div", { class: "actions" }, ...(fault.on
          ? [action("Switch off", `${fault.code}: switch off`, () => post(`${path}/off`), done)]
          : [button("Once", 1), button("3 times", 3), button("Until off")])),
      ];
    }), "No faults.");
}

export function drawSwitchedOn(faults, { done }) {
  const place = document.getElementById("switched-on");
  const on = faults.filter((fault) => fault.on);
  place.hidden = !on.length;
  const words = on.map((fault) => `${fault.code} ${fault.remaining === null
    ? "until switched off" : `for ${plural(fault.remaining, "call")}`}`).join(" · ");
  place.replaceChildren(element("span", { class: "bad" }, `▲ On: ${words}`),
    action("Switch all off", "Switch all faults off", () => post("/sandbox/faults/off"), done));
}
