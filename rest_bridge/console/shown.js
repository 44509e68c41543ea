// How this console shows a state, a bill, a moment, a case: the same everywhere.

import { caseAddress, searchAddress } from "./route.js";
import { element } from "../kit/dom.js";
import { money } from "../kit/amount.js";
import { duration, moment } from "../kit/moment.js";
import { badge } from "../kit/parts.js";

const TONES = {
  APPLIED: "good", UNAPPLIED: "warn", RECEIVED: "wait", VERIFYING: "wait", DONE: "good", HELD: "warn", OPEN: "due",
  PAID: "good", CLOSED: "quiet", LIVE: "due", SUPERSEDED: "quiet", EXPIRED: "quiet", PENDING: "wait", PUBLISHED: "good",
  PARKED: "warn", PROPOSED: "wait", REFUNDING: "wait", RESOLVED: "good", WAITING: "wait", EXCEPTION: "warn",
  UNKNOWN_BILL: "warn", APPROVED: "good", REJECTED: "bad", WORKING: "good", STRAINED: "wait", DOWN: "bad", UNKNOWN: "quiet",
  "breaker.CLOSED": "good", "breaker.OPEN": "bad", "breaker.HALF_OPEN": "wait", "exception.OPEN": "warn",
};

// `kind` where one word means two things: a breaker that is open is not a bill that is.
export const stateOf = (t, name, kind = "") => {
  const key = kind ? `${kind}.${name}` : name;
  return name ? badge(TONES[key] ?? TONES[name] ?? "quiet", t(`state.${key}`)) : "–";
};

export const billLink = (bill) => (bill && bill !== "0"
  ? element("a", { href: caseAddress(bill), "data-key": `bill ${bill}` }, bill) : "–");
export const searchLink = (text) => (text ? element("a", { href: searchAddress(text) }, text) : "–");
export const amountOf = (one) => money(one.amount, one.currency);
export const channelOf = (t, channel) => (channel ? t(`channel.${channel}`) : "–");
export const units = (t) => ({ d: t("unit.d"), h: t("unit.h"), min: t("unit.min"), s: t("unit.s"), ms: t("unit.ms") });
const MINUTE_MS = 60_000;
// Ages of more than a minute are told in whole minutes: seconds would only flicker.
export function age(t, text, now) {
  if (!text) return "–";
  const ms = Math.max(0, now - Date.parse(text));
  return duration(ms < MINUTE_MS ? Math.floor(ms / 1000) * 1000 : Math.floor(ms / MINUTE_MS) * MINUTE_MS, units(t));
}
export const since = (t, text, now) => element("span", { title: moment(text) }, age(t, text, now));

// A long id by its beginning.
const SHOWN = 8;
const LONG = 20;
export const cut = (id) => (id.length > LONG ? `${id.slice(0, SHOWN)}…` : id);

// Words of a service that we know in this language, else as it said them.
export function said(t, key, text) {
  return t(key) === key ? text : t(key);
}

// What a case came to, in the reader's language where we know the sentence.
export function sentence({ t, language, found }) {
  const paying = found.payments?.find((one) => one.state === "APPLIED") ?? found.payments?.at(-1);
  const key = `sentence.${found.sentenceKey}`;
  if (language === "en" || t(key) === key) return element("p", { class: "sentence", lang: "en" }, found.sentence);
  return element("p", { class: "sentence" }, t(key, {
    bill: found.billId, amount: found.bill ? amountOf(found.bill) : "", transaction: paying?.transactionId ?? "" }));
}

// A person's name with its letters hidden, but the first of each word.
export function masked(name) {
  const letters = new Intl.Segmenter("km", { granularity: "grapheme" });
  return (name ?? "").split(" ").map((word) => {
    const [first, ...rest] = [...letters.segment(word)].map(({ segment }) => segment);
    return first === undefined ? "" : first + "•".repeat(rest.length);
  }).join(" ");
}

// A record as text for a raw document: names masked, numbers as they are written.
export const rawText = (record) => JSON.stringify(hidden(record), null, 2);

function hidden(value) {
  if (Array.isArray(value)) return value.map(hidden);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, name === "payer" ? masked(one) : hidden(one)]));
}
