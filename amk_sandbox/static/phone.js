// The phone: choose a policy, see the bill, pay it.

import { post } from "./api.js";
import { element, money, pairs, put, state } from "./dom.js";

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

  function showTransfer(transfer) {
    put("screen",
      state(transfer.state),
      element("p", { class: "amount" }, money(transfer.amount, transfer.currency)),
      element("dl", { class: "pairs" }, ...pairs([
        ["Transfer", transfer.bankTransactionId], ["Bill", String(transfer.billId)]])),
      element("p", { class: "quiet" }, NEXT_WORDS[transfer.state]));
    document.getElementById("screen").focus({ preventScroll: true });
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    lookUp(query.value.trim());
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement;
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    query.focus();
    query.select();
  });
  put("screen", element("p", { class: "quiet" },
    "Type a number, or choose “See” beside a policy. The bill appears here, as in the bank's app."));
  return { lookUp };
}
