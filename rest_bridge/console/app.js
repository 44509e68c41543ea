// The console's frame: who is signed in, which page the address names, and the loop that keeps
// it true. A page is {load, draw, everyMs}: what it needs, how it looks, how often it asks.

import * as casePage from "./case.js";
import * as events from "./events.js";
import * as exceptions from "./exceptions.js";
import * as payments from "./payments.js";
import { bearer, forgetToken, keepToken, keptToken } from "./person.js";
import { PAGES, address, caseAddress, read, searchAddress } from "./route.js";
import * as system from "./system.js";
import * as today from "./today.js";
import { en } from "./words.js";
import { km } from "./words_km.js";
import { makeApi } from "../kit/api.js";
import { element, put, redraw } from "../kit/dom.js";
import { chosenLanguage, keepLanguage, translator } from "../kit/i18n.js";
import { slashFocuses } from "../kit/keys.js";
import { LOOK_WORDS, keptTheme, switches, useTheme } from "../kit/look.js";
import { local } from "../kit/moment.js";
import { badge, failed, loading, tell } from "../kit/parts.js";

const TABLES = { en: { ...LOOK_WORDS.en, ...en }, km: { ...LOOK_WORDS.km, ...km } };
const MODULES = { today, payments, case: casePage, exceptions, events, system };
const UNAUTHORIZED = 401;

let language = chosenLanguage();
let t = translator(TABLES, language);
let token = keptToken();
let person = token ? bearer(token) : null;
let route = read(location.hash);
let data = null; // what the page shows, once it is there
let problem = null; // why it is not, or no longer
let answeredAt = null;
let environment = "";
let turn = 0; // an answer to an earlier page or person is thrown away
let timer = 0;

const top = document.getElementById("top");
const place = document.getElementById("page");
const context = {
  get api() { return makeApi({ token, words: (key, values) => t(key, values) }); },
  cases: {}, redraw: () => draw(), reload: () => look({ fresh: true }), say: tell,
};

function speak(next) {
  language = next;
  t = translator(TABLES, language);
  drawTop();
  draw();
}

function connection() {
  if (problem) return badge("bad", answeredAt ? t("away.since", { at: local(answeredAt).time }) : t("away"));
  return answeredAt ? badge("good", t("connected")) : badge("wait", t("connecting"));
}

function drawTop() {
  document.title = t("title");
  const box = element("input", { type: "search", id: "search", "data-key": "search", "aria-label": t("search"), placeholder: t("search.hint"),
    maxlength: "128", autocomplete: "off", spellcheck: "false" });
  redraw(top,
    element("button", { class: "skip", type: "button", "data-key": "skip", onclick: () => place.focus() }, t("skip")),
    element("h1", {}, t("title")),
    person ? element("nav", { "aria-label": t("pages") }, PAGES.map((name) => element("a", { href: address(name), "data-key": `page ${name}`,
      "aria-current": name === route.page || (name === "payments" && route.page === "case") ? "page" : null }, t(`page.${name}`)))) : null,
    person ? element("form", { class: "search", role: "search", onsubmit: (event) => {
      event.preventDefault();
      const text = box.value.trim();
      if (text) location.hash = searchAddress(text);
    } }, box, element("kbd", { "aria-hidden": "true" }, "/")) : null,
    element("div", { class: "end" },
      person ? element("span", { role: "status", class: "small" }, environment ? `${environment} · ` : "", connection()) : null,
      person ? element("span", { class: "small" }, person.subject, " ", element("button", { type: "button", class: "plain small", "data-key": "sign out", onclick: signOut }, t("sign.out"))) : null,
      switches({ language, t, changed: speak })));
  if (route.query.q && document.activeElement !== top.querySelector("#search")) top.querySelector("#search")?.setAttribute("value", route.query.q);
}

function signOut() {
  forgetToken();
  token = person = data = problem = answeredAt = null;
  context.cases = {};
  turn += 1;
  clearTimeout(timer);
  drawTop();
  put(place, signIn(""));
}

function signIn(why) {
  const box = element("input", { id: "token", type: "password", autocomplete: "off", required: true, spellcheck: "false", "aria-describedby": "token-hint" });
  return element("section", { class: "sign-in" }, element("h2", {}, t("sign.in")),
    why ? element("div", { class: "note failed", role: "alert" }, why) : null,
    element("form", { onsubmit: (event) => {
      event.preventDefault();
      token = box.value.trim();
      keepToken(token);
      person = bearer(token);
      open();
    } }, element("label", { for: "token" }, t("token")), box,
    element("p", { id: "token-hint", class: "quiet small" }, t("token.hint")),
    element("button", { type: "submit", class: "primary" }, t("sign.in.do"))));
}

function view() {
  if (data === null) {
    return problem ? failed({ title: problem.message, details: problem.details, retryWords: t("again"), retry: () => look() }) : loading(t("loading"));
  }
  const stale = problem ? element("p", { class: "note failed", role: "alert" }, t("stale", { why: problem.message })) : null;
  return [stale, MODULES[route.page].draw({ data, route, t, language, person, now: Date.now(), context })];
}

function draw() {
  if (person) redraw(place, view());
  else put(place, signIn(""));
}

// Asks anew for what the page shows; what is shown stays until the answer is there. `fresh`:
// somebody did something, so that what was paged through may be no longer true.
async function look({ fresh = false } = {}) {
  clearTimeout(timer);
  const mine = turn;
  const page = MODULES[route.page];
  try {
    const next = await page.load({ api: context.api, route });
    if (mine !== turn) return;
    data = data && page.keep ? page.keep(data, next, fresh) : next;
    environment = next.today?.environment ?? environment;
    answeredAt = new Date().toISOString();
    problem = null;
    const one = page.only?.(data);
    if (one) { location.replace(caseAddress(one)); return; }
  } catch (failure) {
    if (mine !== turn) return;
    if (failure.status === UNAUTHORIZED) {
      signOut();
      put(place, signIn(t("sign.in.refused", { why: failure.message })));
      return;
    }
    problem = failure;
    if (failure.status) answeredAt = null;
  }
  drawTop();
  draw();
  timer = setTimeout(again, page.everyMs);
}

function again() {
  if (document.hidden) timer = setTimeout(again, MODULES[route.page].everyMs);
  else look();
}

function open() {
  turn += 1;
  route = read(location.hash);
  data = problem = null;
  context.cases = {};
  drawTop();
  if (!person) { put(place, signIn("")); return; }
  put(place, loading(t("loading")));
  look();
}

keepLanguage(language);
useTheme(keptTheme());
addEventListener("hashchange", () => {
  open();
  // To the page, but never out from under somebody who types the next search already.
  const box = document.activeElement;
  const isTyping = box?.id === "search" && box.value !== (route.query.q ?? "");
  if (!isTyping) place.focus({ preventScroll: true });
});
slashFocuses(() => document.getElementById("search"));
open();
