// The evidence side by side: what the bill asks, what the notice claims, what the bank vouches for.

import { amountOf, channelOf, stateOf } from "./shown.js";
import { element } from "../kit/dom.js";
import { digits } from "../kit/amount.js";
import { moment } from "../kit/moment.js";

// What is compared, and how; a value that a side does not have says nothing against it.
const ROWS = [
  { name: "bank", of: (one) => one.bankCode, compared: true },
  { name: "bill", of: (one) => one.billId, compared: true },
  { name: "policy", of: (one) => one.policyNumber, compared: true },
  { name: "amount", of: (one) => one.amount, compared: true, same: (one) => digits(one.amount, one.currency) },
  { name: "currency", of: (one) => one.currency, compared: true },
  { name: "transaction", of: (one) => one.transactionId, compared: true },
  { name: "paid.at", of: (one) => one.paidAt, compared: true, same: (one) => (one.paidAt ?? "").slice(0, 19) },
];

// Which cells differ: from the bill where it says something, else from the notice.
export function differences(bill, notice, verification) {
  const sides = [bill, notice, verification];
  return Object.fromEntries(ROWS.map(({ name, of, same = of }) => {
    const values = sides.map((one) => (one && of(one) !== undefined && of(one) !== "" && of(one) !== "0" ? same(one) : null));
    // The number that was asked for is as good as the policy's own.
    const accepted = name === "policy" && bill ? new Set([values[0], ...(bill.numbers ?? [])]) : null;
    const measure = values.find((value) => value !== null) ?? null;
    return [name, values.map((value) => value !== null && value !== measure && !(accepted?.has(value)))];
  }));
}

const SHOWN = {
  amount: (one) => amountOf(one),
  "paid.at": (one) => moment(one.paidAt),
};

export function evidence({ found, picked, pick, t }) {
  const notices = found.notices ?? [];
  const verifications = found.verifications ?? [];
  const notice = notices[picked.notice ?? notices.length - 1];
  const verification = verifications[picked.verification ?? verifications.length - 1];
  const unlike = differences(found.bill, notice, verification);
  const sides = [["bill", found.bill], ["notice", notice], ["verification", verification]];
  const any = Object.values(unlike).some((cells) => cells.includes(true));
  const cell = (name, at, one, text) => element("td", { class: unlike[name]?.[at] ? "figures unlike" : "figures" },
    unlike[name]?.[at] ? [element("span", { class: "icon", "aria-hidden": "true" }, "≠"), element("span", { class: "unseen" }, t("evidence.unlike"), " ")] : null, one && text ? text : "–");
  const row = (name, of) => element("tr", {}, element("th", { scope: "row" }, t(name)), sides.map(([side, one], at) => cell(name, at, one, one && of(one, side))));
  return element("section", { class: "part" },
    element("h2", {}, t("evidence"), sides.every(([, one]) => one)
      ? element("span", { class: any ? "bad small" : "good small" }, element("span", { class: "icon", "aria-hidden": "true" }, any ? "≠" : "✓"), t(any ? "evidence.differs" : "evidence.agrees")) : null),
    element("div", { class: "frame", tabindex: "0", role: "region", "aria-label": t("evidence"), "data-key": "evidence" },
      element("table", { class: "evidence" },
        element("thead", {}, element("tr", {}, element("th", { scope: "col" }, element("span", { class: "unseen" }, t("evidence.what"))),
          element("th", { scope: "col" }, t("evidence.bill")),
          element("th", { scope: "col" }, head(t, "notice", notices, notice, picked, pick)),
          element("th", { scope: "col" }, head(t, "verification", verifications, verification, picked, pick)))),
        element("tbody", {},
          ROWS.map(({ name, of }) => row(name, (one) => (SHOWN[name] && of(one) ? SHOWN[name](one) : of(one)))),
          row("payer", (one) => one.payer),
          row("state", (one, side) => (side === "verification" ? stateOf(t, one.paid ? "PAID" : "UNPAID") : stateOf(t, one.state))),
          row("cause", (one) => one.stateCause ?? one.foreignBecause),
          row("at", (one) => moment(one.createdAt ?? one.receivedAt ?? one.askedAt)),
          row("channel", (one) => (one.channel ? channelOf(t, one.channel) : null))))));
}

// Of several, the latest; the others by choice.
function head(t, side, all, shown, picked, pick) {
  if (all.length < 2) return [t(`evidence.${side}`), all.length ? null : element("span", { class: "quiet" }, ` · ${t("none")}`)];
  const select = element("select", { "aria-label": t(`evidence.${side}`), "data-key": `pick ${side}`,
    onchange: (event) => { picked[side] = Number(event.target.value); pick(); } },
  all.map((one, at) => element("option", { value: at, selected: one === shown }, `${t(`evidence.${side}`)} ${at + 1}/${all.length}`)));
  return select;
}
