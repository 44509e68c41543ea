// The phone: choose a policy, see the bill or its code, pay it.

import { post } from "./api.js";
import { element, moment, money, pairs, put, state } from "./dom.js";

const NEXT_WORDS = {
  CONFIRMED: "The insurer confirmed it. Ask again: nothing is due.",
  PENDING: "The insurer has not answered yet. The bank sends the notice again by itself.",
  REVERSED: "The insurer refused it; the money is back on the account.",
  REFUSED: "The insurer refused the notice. The back office must look at it.",
};

export function startPhone({ refresh }) {
  const form = document.getElementById("lookup");
  const query = document.getElementById("query");

  function say(title, words, tone) {
    put("screen", element("p", { class: `state ${tone}` }, title), element("p", { class: "quiet" }, words));
  }

  async function lookUp(number) {
    query.value = number;
    say("… Asking the insurer", number, "wait");
    try {
      showBill((await post(`/sandbox/lookup?query=${encodeURIComponent(number)}`)).bill);
    } catch (problem) {
      say(problem.status === 404 ? "○ Nothing to pay" : "✕ No bill", problem.message,
        problem.status === 404 ? "quiet" : "bad");
    }
  }

  function showBill(bill) {
    const pay = element("button", { class: "primary", type: "button" }, "Pay this bill");
    pay.addEventListener("click", async () => {
      pay.disabled = true;
      pay.textContent = "Paying…";
      try {
        showTransfer((await post(`/sandbox/bills/${bill.id}/pay`)).transfer);
      } catch (problem) {
        say("✕ Not paid", problem.message, "bad");
      }
      refresh();
    });
    put("screen",
      element("p", { class: "quiet" }, `Premium of ${bill.policyNumber}`),
      element("p", { class: "amount" }, money(bill.amount, bill.currency)),
      element("dl", { class: "pairs" }, ...pairs([
        ["Payer", bill.payer], ["Due on", bill.dueDate], ["Bill", String(bill.id)]])),
      pay);
    pay.focus({ preventScroll: true });
  }

  async function showCode(number) {
    query.value = number;
    say("… Asking the insurer for a code", number, "wait");
    try {
      drawCode((await post(`/sandbox/khqr?query=${encodeURIComponent(number)}`)).code);
    } catch (problem) {
      say(problem.status === 404 ? "○ No code" : "✕ No code", problem.message,
        problem.status === 404 ? "quiet" : "bad");
    }
    refresh();
  }

  function drawCode(code) {
    const pay = element("button", { class: "primary", type: "button" },
      code.isBillPaid ? "Scan and pay again" : "Scan and pay");
    pay.addEventListener("click", () => {
      pay.disabled = true;
      pay.textContent = "Paying…";
      payCode(code);
    });
    put("screen",
      element("img", { class: "code-image", src: code.image, width: 220, height: 220,
        alt: `KHQR code of bill ${code.billId} for ${code.amount} ${code.currency}` }),
      element("p", { class: "amount" }, money(code.amount, code.currency)),
      element("dl", { class: "pairs" }, ...pairs([
        ["Bill", String(code.billId)], ["State", state(code.state)], ["Good until", moment(code.expiresAt)]])),
      pay);
    pay.focus({ preventScroll: true });
  }

  async function payCode(code) {
    say("… The bank moves the money and tells the insurer", `Bill ${code.billId}`, "wait");
    try {
      const again = code.isBillPaid ? "&again=true" : "";
      const scan = await post(`/sandbox/khqr/${code.billId}/pay?code=${code.id}${again}`);
      const transfer = scan.transfers.at(-1);
      if (transfer) showTransfer(transfer);
      else say("○ No money moved", "A webhook claims that it did. Only the bank's own word counts.", "quiet");
    } catch (problem) {
      say("✕ Not paid", problem.message, "bad");
    }
    refresh();
  }

  function wordsOf(transfer) {
    if (transfer.channel === "KHQR" && transfer.state === "PENDING" && !transfer.attempts) {
      return "The money moved. The insurer was not told yet: it can find out by asking the bank.";
    }
    if (transfer.channel === "KHQR" && transfer.state === "REFUSED") {
      return "The insurer refused the notice. The money is settled; it can find out by asking the bank.";
    }
    return NEXT_WORDS[transfer.state];
  }

  function showTransfer(transfer) {
    put("screen",
      state(transfer.state),
      element("p", { class: "amount" }, money(transfer.amount, transfer.currency)),
      element("dl", { class: "pairs" }, ...pairs([
        ["Transfer", transfer.bankTransactionId], ["Bill", String(transfer.billId)]])),
      element("p", { class: "quiet" }, wordsOf(transfer)));
    document.getElementById("screen").focus({ preventScroll: true });
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    (event.submitter?.id === "show-code" ? showCode : lookUp)(query.value.trim());
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement;
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    query.focus();
    query.select();
  });
  put("screen", element("p", { class: "quiet" },
    "Type a number, or choose “See” or “Code” beside a policy. The bill or its code appears here, as in the app."));
  return { lookUp, showCode, drawCode, payCode };
}
