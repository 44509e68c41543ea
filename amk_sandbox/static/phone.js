// The phone: choose what to pay, see the bill or its KHQR, pay it.

import { post } from "./api.js";
import { stateBadge } from "./panels.js";
import { policyOf } from "./story.js";
import { element, pairs, redraw } from "../kit/dom.js";
import { money } from "../kit/amount.js";
import { moment } from "../kit/moment.js";
import { badge } from "../kit/parts.js";

const NOT_FOUND = 404;

export function makePhone({ refresh }) {
  const screen = element("div", { class: "screen", "aria-live": "polite", tabindex: "-1", id: "screen" });
  let view = { name: "choose" };
  let how = "bill";
  let typed = "";
  let t = (key) => key;
  let found = null;
  const title = element("h2", { id: "phone-title" });

  function show(next) {
    view = next;
    draw();
    if (next.name !== "choose") (screen.querySelector("button.primary") ?? screen).focus({ preventScroll: true });
  }

  const back = (word = t("phone.back")) => element("button", { type: "button", "data-key": "back", onclick: () => {
    show({ name: "choose" });
    screen.querySelector("button")?.focus({ preventScroll: true });
  } }, word);

  async function lookUp(number) {
    how = "bill";
    show({ name: "wait", words: t("phone.asking") });
    try {
      show({ name: "bill", bill: (await post(`sandbox/lookup?query=${encodeURIComponent(number)}`)).bill });
    } catch (problem) {
      show({ name: "say", tone: problem.status === NOT_FOUND ? "quiet" : "bad", words: problem.message,
        title: t(problem.status === NOT_FOUND ? "phone.nothing" : "phone.failed") });
    }
    refresh();
  }

  async function showCode(number) {
    how = "code";
    show({ name: "wait", words: t("phone.asking.code") });
    try {
      drawCode((await post(`sandbox/khqr?query=${encodeURIComponent(number)}`)).code);
    } catch (problem) {
      show({ name: "say", tone: problem.status === NOT_FOUND ? "quiet" : "bad", words: problem.message, title: t("phone.failed.code") });
    }
    refresh();
  }

  const drawCode = (code) => show({ name: "code", code });

  async function pay(run) {
    show({ name: "wait", words: t("phone.paying") });
    try {
      const transfer = await run();
      show(transfer ? { name: "paid", transfer } : { name: "say", tone: "quiet", title: t("phone.unmoved"), words: t("phone.unmoved.how") });
    } catch (problem) {
      show({ name: "say", tone: "bad", title: t("phone.unpaid"), words: problem.message });
    }
    refresh();
  }

  const payBill = (bill) => pay(async () => (await post(`sandbox/bills/${bill.id}/pay`)).transfer);
  const payCode = (code) => pay(async () => {
    const again = code.isBillPaid ? "&again=true" : "";
    return (await post(`sandbox/khqr/${code.billId}/pay?code=${code.id}${again}`)).transfers.at(-1);
  });

  const ask = (number) => (how === "bill" ? lookUp : showCode)(number);

  function choices() {
    const ownFaults = new Set(found?.faults.map((fault) => fault.policy));
    const due = (found?.policies ?? []).filter((one) => one.due && !ownFaults.has(one.number));
    if (found && !due.length) return element("p", { class: "note" }, element("strong", {}, t("phone.none")), " ", t("phone.none.how"));
    return element("ul", { class: "choices", "aria-label": t("tab.policies") }, due.map((one) => element("li", {},
      element("button", { type: "button", "data-key": `choose ${one.number}`, onclick: () => ask(one.number) },
        element("span", {}, one.payer), element("span", { class: "number" }, money(one.amount, one.currency)),
        element("span", { class: "quiet small" }, one.number)))));
  }

  const VIEWS = {
    choose: () => {
      const input = element("input", { id: "query", name: "query", maxlength: "10", pattern: "[A-Za-z0-9]{1,10}", required: true,
        spellcheck: "false", autocomplete: "off", "data-key": "query", "aria-describedby": "query-hint", value: typed,
        oninput: () => { typed = input.value; } });
      input.value = typed;
      const way = (name) => element("button", { type: "button", "data-key": `how ${name}`, "aria-pressed": String(how === name),
        onclick: () => { how = name; draw(); } }, t(`phone.by.${name}`));
      return [
        element("p", { class: "outcome" }, t("phone.choose")),
        element("div", { class: "switch", role: "group", "aria-label": t("phone.how") }, way("bill"), way("code")),
        choices(),
        element("form", { onsubmit: (event) => { event.preventDefault(); ask(input.value.trim()); } },
          element("label", { for: "query", class: "small quiet" }, t("phone.number")),
          element("div", { class: "row" }, input,
            element("button", { type: "submit", "data-key": "ask" }, t(how === "bill" ? "phone.bill" : "phone.code"))),
          element("p", { id: "query-hint", class: "quiet small" }, t("phone.hint"), " ", element("kbd", {}, "/"))),
      ];
    },
    wait: ({ words }) => [element("p", { role: "status" }, words)],
    say: ({ tone, title: what, words }) => [element("p", { class: "outcome" }, badge(tone, what)), element("p", { class: "quiet" }, words), back()],
    bill: ({ bill }) => [
      element("p", { class: "amount" }, money(bill.amount, bill.currency)),
      pairs([[t("payer"), bill.payer], [t("policy"), bill.policyNumber], [t("due"), bill.dueDate], [t("bill"), bill.id]]),
      element("button", { type: "button", class: "primary", "data-key": "pay", onclick: () => payBill(bill) },
        t("phone.pay", { amount: money(bill.amount, bill.currency) })),
      back(),
    ],
    code: ({ code }) => [
      element("img", { class: "code-image", src: code.image.replace(/^\//, ""), width: "208", height: "208",
        alt: `KHQR ${code.billId}: ${code.amount} ${code.currency}` }),
      element("p", { class: "amount" }, money(code.amount, code.currency)),
      pairs([[t("policy"), policyOf(found, code) ?? t("not.told")], [t("bill"), code.billId], [t("state"), stateBadge(t, code.state)], [t("until"), moment(code.expiresAt)]]),
      element("button", { type: "button", class: "primary", "data-key": "pay", onclick: () => payCode(code) },
        code.isBillPaid ? t("phone.scan.again") : t("phone.scan", { amount: money(code.amount, code.currency) })),
      back(),
    ],
    paid: ({ transfer }) => [
      element("p", { class: "outcome" }, stateBadge(t, transfer.state)),
      element("p", { class: "amount" }, money(transfer.amount, transfer.currency)),
      pairs([[t("transfer"), transfer.bankTransactionId], [t("bill"), transfer.billId]]),
      element("p", { class: "quiet" }, t(nextWords(transfer))),
      found ? element("a", { href: `${found.consoleUrl}#/payments/${transfer.billId}`, target: "console" }, t("phone.follow")) : null,
      back(t("phone.another")),
    ],
  };

  function draw() {
    title.textContent = t("phone.title");
    redraw(screen, VIEWS[view.name](view));
  }

  const node = element("section", { class: "phone", "aria-labelledby": "phone-title" },
    element("div", { class: "phone-head" }, title), screen);

  return {
    node, lookUp, showCode, drawCode,
    // A list that is being chosen from stays true; a bill or a code stays as it was shown.
    update: (state, words) => {
      const spoke = t !== words;
      found = state;
      t = words;
      if (view.name === "choose" || spoke) draw();
    },
    search: () => {
      if (view.name !== "choose") show({ name: "choose" });
      return screen.querySelector("#query");
    },
  };
}

function nextWords(transfer) {
  if (transfer.channel === "KHQR" && transfer.state === "PENDING" && !transfer.attempts) return "next.untold";
  if (transfer.channel === "KHQR" && transfer.state === "REFUSED") return "next.refused.code";
  return `next.${transfer.state}`;
}
