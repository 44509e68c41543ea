// The loop that keeps the page true.

import { get } from "./api.js";
import { showDetail } from "./detail.js";
import { element, money, pairs, put } from "./dom.js";
import {
  callTable, codeTable, countWords, drawSwitchedOn, faultTable, noticeTable, revokeAction,
} from "./khqr.js";
import { eventTable, policyTable, transferTable } from "./office.js";
import { startPhone } from "./phone.js";

const PAUSE_MS = 1500;
const FRAMES = ["policies", "codes", "transfers", "notices", "calls", "events", "faults"];
let shown = "";
let chosen = null;

const phone = startPhone({ refresh });

const tools = {
  phone,
  done: () => { shown = ""; refresh(); },
  choose: (kind, id) => { chosen = { kind, id }; shown = ""; refresh({ focusDetail: true }); },
};

function draw(found) {
  const focused = document.activeElement?.dataset?.key;
  put("numbers", ...found.policies.flatMap((policy) => [policy.number, policy.applicationNumber])
    .filter(Boolean).map((number) => element("option", { value: number })));
  put("accounts", ...pairs(found.accounts.filter((one) => one.kind !== "BANK")
    .map((one) => [one.holder, money(one.balance, one.currency)])));
  put("policies", policyTable(found.policies, tools));
  put("codes", codeTable(found.codes, tools));
  put("transfers", transferTable(found.transfers, found.notices, tools));
  put("notices", noticeTable(found.notices, tools));
  put("call-counts", countWords(found), " ", revokeAction(tools.done));
  put("calls", callTable(found.calls, tools));
  put("events", eventTable(found.events));
  put("faults", faultTable(found.faults, tools));
  drawSwitchedOn(found.faults, tools);
  showDetail(found, chosen);
  if (focused) document.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

async function refresh({ focusDetail = false } = {}) {
  const connection = document.getElementById("connection");
  try {
    const found = await get("/sandbox/state");
    const text = JSON.stringify(found);
    if (text !== shown) {
      shown = text;
      draw(found);
    }
    if (focusDetail) document.getElementById("detail-title").focus();
    connection.textContent = "✓ Connected";
    connection.className = "state good";
  } catch (problem) {
    connection.textContent = `✕ ${problem.message}`;
    connection.className = "state bad";
  }
}

async function keepTrue() {
  if (!document.hidden) await refresh();
  setTimeout(keepTrue, PAUSE_MS);
}

for (const id of FRAMES) put(id, element("p", { class: "empty" }, "… Loading"));
keepTrue();
