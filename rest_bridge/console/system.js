// System: versions, schema, fingerprints, breakers with their windows, pools, batch sizes.

import { age, since, stateOf, units } from "./shown.js";
import { drawing, element, pairs } from "../kit/dom.js";
import { count } from "../kit/amount.js";
import { sparkline } from "../kit/chart.js";
import { duration, moment } from "../kit/moment.js";
import { empty, failed, table } from "../kit/parts.js";

export const everyMs = 10_000;

// The KHQR service is another process: that it is away must not hide the gateway.
export async function load({ api }) {
  const [gateway, khqr] = await Promise.all([api.get("ops/system"),
    api.get("ops/system/khqr").then((found) => found, (problem) => ({ problem }))]);
  return { gateway, khqr };
}

export function draw({ data: { gateway, khqr }, t, now }) {
  const processes = [gateway.process, khqr.process].filter(Boolean);
  const all = (name) => processes.flatMap((one) => (one[name] ?? []).map((row) => ({ ...row, service: one.service })));
  return [
    element("section", { class: "part" }, element("h2", {}, t("system.processes")),
      table({ key: "processes", name: t("system.processes"), rows: processes, empty: null, columns: [
        { head: t("service"), cell: (one) => one.service },
        { head: t("version"), kind: "figures", cell: (one) => one.version },
        { head: t("environment"), cell: (one) => one.environment },
        { head: t("started"), kind: "figures", cell: (one) => [moment(one.startedAt), element("span", { class: "quiet" }, ` · ${age(t, one.startedAt, now)}`)] },
        { head: t("fingerprint"), cell: (one) => element("code", {}, one.configurationFingerprint) },
      ] }),
      khqr.problem ? failed({ title: t("system.khqr.away"), details: khqr.problem.message }) : null,
      pairs([[t("schema"), gateway.schemaRevision], [t("database"), gateway.database], [t("events.to"), gateway.events],
        [t("banks"), (gateway.bankCodes ?? []).join(", ") || "–"]])),
    element("section", { class: "part" }, element("h2", {}, t("today.parts")),
      table({ key: "parts", name: t("today.parts"), rows: gateway.parts ?? [], empty: nothing(t), columns: [
        { head: t("part"), cell: (one) => one.name },
        { head: t("state"), cell: (one) => stateOf(t, one.health) },
        { head: t("since.head"), cell: (one) => since(t, one.since, now) },
        { head: t("cause"), kind: "wrap", cell: (one) => one.why },
      ] })),
    element("section", { class: "part" }, element("h2", {}, t("breakers")),
      table({ key: "breakers", name: t("breakers"), rows: all("breakers"), empty: nothing(t), columns: [
        { head: t("service"), cell: (one) => one.service },
        { head: t("endpoint"), cell: (one) => `${one.owner} ${one.endpoint}` },
        { head: t("state"), cell: (one) => stateOf(t, one.state, "breaker") },
        { head: t("since.head"), cell: (one) => since(t, one.since, now) },
        { head: t("window"), kind: "number", cell: (one) => `${count(one.calls)} / ${count(one.windowSize)}` },
        { head: t("failed"), kind: "number", cell: (one) => count(one.failed) },
        { head: t("latency.day"), cell: (one) => latencyOf(all("latencies"), one, t) },
      ] })),
    element("div", { class: "half" },
      element("section", { class: "part" }, element("h2", {}, t("pools")),
        table({ key: "pools", name: t("pools"), rows: all("gauges"), empty: nothing(t), columns: [
          { head: t("service"), cell: (one) => one.service },
          { head: t("pool"), cell: (one) => one.name },
          { head: t("used"), kind: "number", cell: (one) => `${count(one.used)} / ${count(one.most)}` },
          { head: t("share"), cell: (one) => meter(one, t) },
        ] })),
      element("section", { class: "part" }, element("h2", {}, t("batches")),
        table({ key: "batches", name: t("batches"), rows: all("batches"), empty: nothing(t), columns: [
          { head: t("service"), cell: (one) => one.service },
          { head: t("writer"), cell: (one) => one.name },
          { head: t("batches"), kind: "number", cell: (one) => count(one.batches) },
          { head: t("batch.mean"), kind: "number", cell: (one) => (Number(one.batches) ? (Number(one.members) / Number(one.batches)).toFixed(1) : "–") },
          { head: t("batch.largest"), kind: "number", cell: (one) => count(one.largest) },
          { head: t("waiting"), kind: "number", cell: (one) => count(one.waiting) },
        ] }))),
  ];
}

const nothing = (t) => empty(t("system.none"), t("system.none.how"));

function latencyOf(all, breaker, t) {
  const one = all.find((each) => each.owner === breaker.owner && each.endpoint === breaker.endpoint && each.service === breaker.service);
  const values = (one?.points ?? []).map((point) => (Number(point.calls) ? Number(point.p95Ms) : null));
  const last = values.findLast((value) => value !== null);
  if (last === undefined) return element("span", { class: "quiet" }, t("none"));
  const words = t("latency.last", { last: duration(last, units(t)) });
  const sixes = Array.from({ length: Math.ceil(values.length / 6) }, (_, at) => {
    const half = values.slice(at * 6, at * 6 + 6).filter((value) => value !== null);
    return half.length ? Math.max(...half) : null; // the highest of half an hour
  });
  return [sparkline({ values: sixes, summary: words }), " ", element("span", { class: "quiet small" }, words)];
}

function meter({ used, most }, t) {
  const width = Number(most) ? Math.round((Number(used) / Number(most)) * 96) : 0;
  return drawing("svg", { class: "meter", viewBox: "0 0 96 8", preserveAspectRatio: "none", role: "img", "aria-label": t("meter", { used, most }) },
    drawing("rect", { x: 0, y: 0, width, height: 8 }));
}
