// What happened to one bill, as steps between customer, bank and insurer. Pure: state in, steps out.

// The state tells seconds; within one, things happen in this order.
const ORDER = ["lookUp", "ask", "sign-in", "generator", "paid", "webhook", "notice", "verify", "event"];

const asked = (call) => {
  try {
    return JSON.parse(call.asked);
  } catch {
    return {};
  }
};
const statusOf = (body) => {
  try {
    return JSON.parse(body).status ?? "";
  } catch {
    return "";
  }
};
const billOf = (call) => String(asked(call).txId ?? asked(call).billNumber ?? "");

// Codes do not tell the bank their policy; the phone knows what it asked for.
export function policyOf(found, code) {
  const asked = code?.policyNumber ?? code?.shownFor;
  const policy = found.policies.find((one) => one.number === asked || one.applicationNumber === asked);
  return policy?.number ?? asked ?? null;
}

export function storyOf(found, billId) {
  const steps = [];
  const add = (kind, at, from, to, more) => steps.push({ kind, at, from, to, ...more });
  const mine = (one) => one.billId === billId;
  const transfers = found.transfers.filter(mine);
  const codes = found.codes.filter(mine);
  const lookUp = found.lookUps.find(mine);
  const money = transfers[0] ?? codes[0];
  const policy = lookUp?.policyNumber ?? policyOf(found, codes[0]);
  if (lookUp) add("lookUp", lookUp.lookedUpAt, "bank", "insurer", { query: lookUp.query });
  for (const code of codes.filter((one) => one.shownFor)) {
    add("ask", code.createdAt, "customer", "insurer", { query: code.shownFor });
  }
  const calls = found.calls.filter((call) => billOf(call) === String(billId));
  const first = calls.findLast((call) => call.endpoint === "generator");
  // Signing in names no bill: it belongs to the code that was asked for right after it.
  const before = first && found.calls.find((call) => call.id === first.id - 1 && call.endpoint === "sign-in");
  if (before) add("sign-in", before.receivedAt, "insurer", "bank", { call: before });
  for (const call of calls) add(call.endpoint, call.receivedAt, "insurer", "bank", { call });
  for (const one of transfers) {
    add("paid", one.paidAt, "customer", "bank", { number: one.bankTransactionId, amount: one.amount, currency: one.currency });
    if (one.channel === "BILL") {
      for (const sending of one.answers) add("webhook", sending.sentAt, "bank", "insurer", { sending, body: one.body });
    }
  }
  for (const notice of found.notices.filter(mine)) {
    for (const sending of notice.answers) {
      add("notice", sending.sentAt, "bank", "insurer", { sending, body: notice.body, status: statusOf(notice.body) });
    }
  }
  const paidAt = transfers.at(-1)?.paidAt;
  for (const event of found.events) {
    // Events name the policy alone: those after this bill's first transfer are this bill's.
    if (paidAt && event.policyNumber === policy && event.seenAt >= paidAt) {
      add("event", event.seenAt, "insurer", "everyone", { settled: event.settled, eventId: event.eventId });
    }
  }
  steps.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind)));
  return { billId, policy, amount: money?.amount, currency: money?.currency, steps };
}
