// The page: its head, the phone, the tabs of the back office, and the loop that keeps it true.

import { get } from "./api.js";
import { faultPanel, policyPanel, switchedOn } from "./insurer.js";
import { accountPanel, callPanel, codePanel, eventPanel, storyPanel, transferPanel, webhookPanel } from "./panels.js";
import { makePhone } from "./phone.js";
import { en } from "./words.js";
import { km } from "./words_km.js";
import { element, fold, put, redraw } from "../kit/dom.js";
import { chosenLanguage, keepLanguage, translator } from "../kit/i18n.js";
import { slashFocuses } from "../kit/keys.js";
import { LOOK_WORDS, keptTheme, switches, useTheme } from "../kit/look.js";
import { badge, loading } from "../kit/parts.js";

const PAUSE_MS = 1500;
const TABLES = { en: { ...LOOK_WORDS.en, ...en }, km: { ...LOOK_WORDS.km, ...km } };
const TABS = {
  story: [storyPanel, () => null],
  transfers: [transferPanel, (found) => found.transfers.length],
  webhooks: [webhookPanel, (found) => found.notices.length + found.transfers.filter((one) => one.channel === "BILL").length],
  codes: [codePanel, (found) => found.codes.length],
  calls: [callPanel, (found) => found.calls.length],
  accounts: [accountPanel, () => null],
  events: [eventPanel, (found) => found.events.length],
  policies: [policyPanel, () => null],
  faults: [faultPanel, (found) => found.faults.filter((fault) => fault.on).length || null],
};
const COMMANDS = [
  "POST /sandbox/pay?query=P123456789",
  "POST /sandbox/lookup?query=…   POST /sandbox/bills/{id}/pay   ?again=true",
  "POST /sandbox/khqr/pay?query=P123456789",
  "POST /sandbox/khqr?query=…   POST /sandbox/khqr/{bill}/pay   GET /sandbox/khqr/{bill}/image",
  "POST /sandbox/transfers/{number}/resend   …/reverse",
  "POST /sandbox/notices/{id}/resend   POST /sandbox/tokens/revoke",
  "POST /sandbox/policies/{number}/premium {\"amount\":\"165.00\"}   …/settle   …/due {\"dueDate\":\"2027-11-15\"}",
  "POST /sandbox/faults/verify-500/on {\"times\":3}   …/off   POST /sandbox/faults/off",
  "GET /sandbox/state   GET /policies/{number}/premium",
];

let language = chosenLanguage();
let t = translator(TABLES, language);
let found = null;
let shown = "";
let problem = null;

const phone = makePhone({ refresh });
const office = element("section", { class: "office", "aria-labelledby": "office-title" });
const opened = () => (location.hash.slice(1) in TABS ? location.hash.slice(1) : "story");

function drawTop() {
  document.title = t("title");
  redraw(document.getElementById("top"),
    element("h1", {}, t("title")), element("p", { class: "quiet small" }, t("subtitle")),
    element("div", { class: "end" },
      element("span", { role: "status" }, problem ? badge("bad", problem) : found ? badge("good", t("connected")) : null),
      found ? element("a", { href: found.consoleUrl, target: "console", "data-key": "console" }, t("console.open")) : null,
      switches({ language, t, changed: speak })));
}

function speak(next) {
  language = next;
  t = translator(TABLES, language);
  drawTop();
  if (found) draw();
}

function tab(name, count) {
  const selected = name === opened();
  return element("button", { type: "button", role: "tab", id: `tab-${name}`, "data-key": `tab ${name}`, "aria-selected": String(selected),
    "aria-controls": "panel", tabindex: selected ? "0" : "-1", onclick: () => { location.hash = name; },
    onkeydown: (event) => step(event, name) }, t(`tab.${name}`),
  count === null ? null : element("span", { class: "count" }, count));
}

// Arrows move between tabs, as in every list of tabs. The focus moves before the next key is read:
// two quick presses are two steps.
function step(event, name) {
  const names = Object.keys(TABS);
  const moves = { ArrowRight: 1, ArrowLeft: -1 };
  if (!(event.key in moves)) return;
  event.preventDefault();
  const next = names[(names.indexOf(name) + moves[event.key] + names.length) % names.length];
  location.hash = next;
  draw();
  document.getElementById(`tab-${next}`).focus();
}

function draw() {
  const done = () => refresh();
  const name = opened();
  phone.update(found, t);
  redraw(office,
    element("h2", { id: "office-title", class: "unseen" }, t("tabs")),
    switchedOn({ found, t, done }),
    element("div", { class: "tabs", role: "tablist", "aria-labelledby": "office-title" },
      Object.entries(TABS).map(([one, [, count]]) => tab(one, count(found)))),
    element("div", { class: "panel", role: "tabpanel", id: "panel", "aria-labelledby": `tab-${name}` },
      element("p", { class: "quiet small" }, t(`about.${name}`)), TABS[name][0]({ found, t, phone, done })),
    fold(t("terminal"), "terminal", element("pre", { tabindex: "0", role: "region", "aria-label": t("terminal") }, COMMANDS.join("\n"))));
}

async function refresh() {
  try {
    const next = await get("sandbox/state");
    const text = JSON.stringify(next);
    found = next;
    if (problem !== null || shown === "") {
      problem = null;
      drawTop();
    }
    if (text !== shown) {
      shown = text;
      draw();
    }
  } catch (failure) {
    if (problem === null) {
      problem = failure.status ? failure.message : t("not.answering");
      drawTop();
    }
  }
}

async function keepTrue() {
  if (!document.hidden) await refresh();
  setTimeout(keepTrue, PAUSE_MS);
}

keepLanguage(language);
useTheme(keptTheme());
put(document.getElementById("page"), phone.node, office);
put(office, loading(t("loading")));
phone.update(null, t);
drawTop();
addEventListener("hashchange", () => { if (found) draw(); });
slashFocuses(() => phone.search());
keepTrue();
