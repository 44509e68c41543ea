// One thing in full: what was sent, byte for byte, and what was answered.

import { element, moment, put } from "./dom.js";
import { noticesOf } from "./office.js";

const FINDERS = {
  transfer: (found, id) => found.transfers.find((one) => one.bankTransactionId === id),
  notice: (found, id) => found.notices.find((one) => one.id === id),
  code: (found, id) => found.codes.find((one) => one.id === id),
  call: (found, id) => found.calls.find((one) => one.id === id),
};

const TITLES = {
  transfer: (one) => `Webhook of ${one.bankTransactionId}`,
  notice: (one) => `Webhook No. ${one.id}`,
  code: (one) => `Code No. ${one.id} of bill ${one.billId}`,
  call: (one) => `Call ${one.id}: ${one.endpoint}`,
};

function webhook({ body, answers, nextSendAt }) {
  const next = nextSendAt ? ` Sent again by itself at ${moment(nextSendAt)}.` : "";
  return [
    element("h3", {}, "What the bank sent, byte for byte"),
    element("pre", {}, body),
    element("h3", {}, `What we answered, latest first.${next}`),
    ...answers.flatMap((one) => [
      element("p", {}, `${moment(one.sentAt)} · ${one.sentBy.toLowerCase()} · `
        + `${one.status ?? "no answer"} in ${one.elapsedMs} ms`),
      element("pre", {}, one.answer || "(empty)"),
    ]),
  ];
}

const BODIES = {
  transfer: (one, found) => (one.channel === "BILL"
    ? webhook(one) : noticesOf(one, found.notices).flatMap(webhook)),
  notice: webhook,
  code: (one) => [
    element("h3", {}, `What the code says, issued at ${moment(one.createdAt)}`),
    element("pre", {}, one.payload),
    element("h3", {}, "Its MD5, Bakong's key of the payment"),
    element("pre", {}, one.md5),
  ],
  call: (one) => [
    element("h3", {}, `What the insurer asked at ${moment(one.receivedAt)}`),
    element("pre", {}, one.asked),
    element("h3", {}, `What the bank answered: ${one.status ?? "nothing"} in ${one.elapsedMs} ms`
      + `${one.fault ? ` (${one.fault})` : ""}`),
    element("pre", {}, one.answer),
  ],
};

export function showDetail(found, chosen) {
  const one = chosen && FINDERS[chosen.kind](found, chosen.id);
  document.getElementById("detail-part").hidden = !one;
  if (!one) return;
  put("detail-title", TITLES[chosen.kind](one));
  put("detail", ...BODIES[chosen.kind](one, found));
}
