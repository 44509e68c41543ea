// What an operator of the sandbox changes: policies at the insurer, faults at the bank.

import { post } from "./api.js";
import { stateBadge } from "./panels.js";
import { element, fold } from "../kit/dom.js";
import { money } from "../kit/amount.js";
import { action, empty, table } from "../kit/parts.js";

const POINTS = ["webhook", "verify", "generator", "sign-in"];

export function policyPanel({ found, t, phone, done }) {
  const withFaults = new Set(found.faults.map((fault) => fault.policy));
  const part = (key, rows) => table({ key, name: t("tab.policies"), rows, columns: columns({ t, phone, done }),
    empty: empty(t("empty.policies"), t("empty.policies.how")) });
  return [
    part("policies", found.policies.filter((one) => !withFaults.has(one.number))),
    fold(t("policies.faults"), "fault policies", part("fault policies", found.policies.filter((one) => withFaults.has(one.number)))),
  ];
}

const columns = ({ t, phone, done }) => [
  { head: t("policy"), kind: "figures", cell: (one) => one.number },
  { head: t("payer"), cell: (one) => one.payer },
  { head: t("amount"), kind: "number", cell: (one) => money(one.amount, one.currency) },
  { head: t("due"), kind: "figures", cell: (one) => one.dueDate },
  { head: t("state"), cell: (one) => stateBadge(t, one.due ? "DUE" : "SETTLED") },
  { head: t("note"), kind: "wrap", cell: (one) => [
    one.settledBy && t("settled.by", { who: t(one.settledBy === "operator" ? "by.operator" : "by.event") }),
    one.applicationNumber, one.note].filter(Boolean).join(" · ") },
  { head: "", label: t("actions"), cell: (one) => {
    const path = `sandbox/policies/${encodeURIComponent(one.number)}`;
    const button = (what, run, then = done) => action({
      word: t(`do.${what}`), label: t(`do.${what}.of`, { number: one.number }), kind: "small", run, done: then });
    return element("div", { class: "actions" },
      button("bill", () => phone.lookUp(one.number)), button("code", () => phone.showCode(one.number)),
      button("raise", () => post(`${path}/premium`)),
      one.due ? button("settle", () => post(`${path}/settle`)) : button("due", () => post(`${path}/due`)));
  } },
];

export function faultPanel({ found, t, done }) {
  return element("div", { class: "faults" }, POINTS.map((point) => element("section", {},
    element("h2", {}, t(`point.${point}`)),
    table({ key: `faults ${point}`, name: t(`point.${point}`), rows: found.faults.filter((fault) => fault.point === point), columns: [
      { head: t("happens"), kind: "wrap", cell: (one) => faultWords(t, one) },
      { head: t("fault"), kind: "figures", cell: (one) => one.code },
      { head: t("fault.policy"), kind: "figures", cell: (one) => one.policy ?? t("fault.switch") },
      { head: t("state"), cell: (one) => stateBadge(t, one.on ? "ON" : "OFF") },
      { head: "", label: t("actions"), cell: (one) => element("div", { class: "actions" }, switchesOf(one, t, done)) },
    ] }))));
}

// The server says them in English; the page knows them in Khmer.
function faultWords(t, { code, words }) {
  const key = `fault ${code}`;
  return t(key) === key ? words : t(key);
}

function switchesOf(fault, t, done) {
  const path = `sandbox/faults/${fault.code}`;
  const button = (what, run) => action({ word: t(`do.${what}`), label: `${fault.code}: ${t(`do.${what}`)}`, kind: "small", run, done });
  if (fault.on) return [button("off", () => post(`${path}/off`))];
  return [button("once", () => post(`${path}/on`, { times: 1 })), button("thrice", () => post(`${path}/on`, { times: 3 })),
    button("on", () => post(`${path}/on`))];
}

export function switchedOn({ found, t, done }) {
  const on = found.faults.filter((fault) => fault.on);
  if (!on.length) return null;
  const list = on.map((one) => (one.remaining === null
    ? t("fault.until", { code: one.code }) : t("fault.times", { code: one.code, n: one.remaining }))).join(" · ");
  return element("div", { class: "switched-on", role: "status" },
    element("span", { class: "bad" }, "▲ ", t("faults.on", { list })),
    action({ word: t("do.off.all"), label: t("do.off.all"), kind: "small", run: () => post("sandbox/faults/off"), done }));
}
