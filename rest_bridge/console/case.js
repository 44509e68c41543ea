// One payment: first a sentence, then what happened, and beside it the evidence.

import { evidence } from "./evidence.js";
import { exceptionPart } from "./exceptions.js";
import { eventTable, replayForm } from "./events.js";
import { amountOf, billLink, cut, rawText, said, sentence, stateOf, units } from "./shown.js";
import { searchAddress } from "./route.js";
import { paymentTable } from "./today.js";
import { element } from "../kit/dom.js";
import { between, duration, local } from "../kit/moment.js";
import { empty, original } from "../kit/parts.js";

export const everyMs = 5000;

export const load = async ({ api, route }) => ({
  found: await api.get(`ops/cases/${encodeURIComponent(route.id)}`), picked: {}, replay: null });

// A case that is looked at again keeps what was picked and what is about to be replayed.
export const keep = (before, after) => ({ ...after, picked: before.picked, replay: before.replay });

export function draw(given) {
  const { data, t, context } = given;
  const { found, picked } = data;
  return [
    element("section", { class: "part" },
      element("div", { class: "case-head" },
        element("h2", {}, t("case.title", { bill: found.billId })),
        stateOf(t, found.standing, found.standing === "OPEN" ? "standing" : ""),
        found.bill ? element("span", { class: "figures" }, amountOf(found.bill)) : null,
        found.bill ? element("a", { href: searchAddress(found.bill.policyNumber) }, found.bill.policyNumber) : null,
        found.otherBillIds?.length ? element("span", { class: "quiet" }, `${t("case.others")} `, found.otherBillIds.map((bill) => [billLink(bill), " "])) : null),
      sentence({ t, language: given.language, found })),
    (found.exceptions ?? []).some((one) => one.state !== "RESOLVED")
      ? element("section", { class: "part" }, element("h2", {}, t("page.exceptions")),
        found.exceptions.filter((one) => one.state !== "RESOLVED").map((one) => exceptionPart({ ...given, one }))) : null,
    element("div", { class: "beside" },
      timeline(found, t),
      element("div", { class: "part" },
        evidence({ found, picked, pick: context.redraw, t }),
        element("section", { class: "part" }, element("h2", {}, t("case.money")),
          paymentTable({ key: "money", ofOneBill: true, rows: found.payments ?? [], t, empty: empty(t("case.money.none"), t("case.money.none.how")) })))),
    element("section", { class: "part" }, element("h2", {}, t("page.events")),
      eventTable({ ...given, rows: found.events ?? [], empty: empty(t("case.events.none"), t("case.events.none.how")),
        replay: (event) => { data.replay = event; context.redraw(); } }),
      data.replay ? replayForm({ ...given, selection: { eventId: data.replay.eventId }, close: () => { data.replay = null; context.redraw(); } }) : null),
    raw(found, t),
  ];
}

function timeline(found, t) {
  const steps = found.steps ?? [];
  let day = "";
  const items = steps.flatMap((step, at) => {
    const when = local(step.at);
    const isNewDay = when && when.day !== day;
    day = when?.day ?? day;
    const after = at ? between(steps[at - 1].at, step.at) : null;
    return [
      isNewDay ? element("li", {}, element("span", { class: "day figures" }, `${when.day} · +07:00`)) : null,
      element("li", {},
        element("span", { class: "figures" }, when ? `${when.time}.${when.fraction.padEnd(3, "0").slice(0, 3)}` : "–"),
        element("span", { class: "after quiet small figures" }, after === null ? "" : `+ ${duration(after, units(t))}`),
        element("span", { class: "what" }, said(t, `step.${step.kind}`, step.kind),
          step.cause ? element("span", { class: "quiet" }, ` · ${step.cause}`) : null,
          element("span", { class: "quiet small" }, step.subject ? [" · ", brief(step.subject)] : null,
            step.requestId ? [" · ", requestLink(step.requestId)] : null))),
    ];
  });
  return element("section", { class: "part" }, element("h2", {}, t("case.timeline")),
    steps.length ? element("ol", { class: "timeline" }, items.filter(Boolean))
      : element("div", { class: "frame" }, empty(t("case.timeline.none"), t("case.timeline.none.how"))));
}

const brief = (id) => element("span", { title: id }, cut(id));
const requestLink = (id) => element("a", { href: searchAddress(id), title: id }, cut(id));

function raw(found, t) {
  const words = { copy: t("copy"), copied: t("copied") };
  const documents = [
    found.bill && ["bill", found.bill],
    ...(found.notices ?? []).map((one) => [one.noticeId, one]),
    ...(found.verifications ?? []).map((one) => [one.verificationId, one]),
    ...(found.codes ?? []).map((one) => [one.codeId, one]),
    ...(found.payments ?? []).map((one) => [one.paymentId, one]),
  ].filter(Boolean);
  if (!documents.length) return null;
  return element("section", { class: "part" }, element("h2", {}, t("case.raw"), element("span", { class: "quiet small" }, t("case.raw.masked"))),
    documents.map(([name, record]) => original({ key: `raw ${name}`, title: name, text: rawText(record), words })));
}
