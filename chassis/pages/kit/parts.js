// Badges, tables, and what stands where there is nothing: empty, loading, failed.

import { element, fold } from "./dom.js";

// A state as an icon and a word; the colour only repeats what they say.
const ICONS = { good: "✓", wait: "…", bad: "✕", quiet: "○", due: "●", back: "↩", warn: "▲" };
const TONES = { due: "wait", back: "bad", warn: "bad" };

export const badge = (tone, word) => element("span", { class: `badge ${TONES[tone] ?? tone}` },
  element("span", { class: "icon", "aria-hidden": "true" }, ICONS[tone] ?? "○"), word);

// columns: [{head, kind, cell(row)}]; kind is a class: "number", "figures", "wrap".
export function table({ key, name, columns, rows, empty, rowClass = () => null, short = false }) {
  if (!rows.length) return element("div", { class: "frame" }, empty);
  return element("div", { class: short ? "frame short" : "frame", tabindex: "0", role: "region", "aria-label": name, "data-key": `table ${key}` },
    element("table", {},
      element("thead", {}, element("tr", {}, columns.map(({ head, label, kind }) =>
        element("th", { scope: "col", class: kind }, head || element("span", { class: "unseen" }, label))))),
      element("tbody", {}, rows.map((row) => element("tr", { class: rowClass(row) },
        columns.map(({ kind, cell }) => element("td", { class: kind }, cell(row))))))));
}

export const empty = (what, how) => element("p", { class: "note" }, element("strong", {}, what), " ", how);

export const loading = (words) => element("p", { class: "note", role: "status" }, `… ${words}`);

export function failed({ title, details, retryWords, retry }) {
  return element("div", { class: "note failed", role: "alert" },
    element("p", {}, element("strong", {}, `✕ ${title}`)), details ? element("p", {}, details) : null,
    retry ? element("button", { type: "button", "data-key": "retry", onclick: retry }, retryWords) : null);
}

// Text as it came, copied with one press. Browsers give pages that came without
// TLS from another machine no clipboard; there the text is selected instead.
export function whole({ key, title, text, words }) {
  const shown = element("pre", { tabindex: "0", role: "region", "aria-label": title, "data-key": `text ${key}` }, text);
  const copy = element("button", { type: "button", class: "small", "data-key": `copy ${key}`, onclick: async () => {
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(text);
      copy.textContent = words.copied;
    } else getSelection().selectAllChildren(shown);
  } }, words.copy);
  return element("div", { class: "whole" }, shown, copy);
}

export const original = ({ key, title, text, words }) => fold(title, key, whole({ key, title, text, words }));

let toastTimer = 0;
const TOAST_MS = 6000;

export function tell(words) {
  const place = document.getElementById("toast");
  place.textContent = words;
  place.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { place.hidden = true; }, TOAST_MS);
}

// A button that asks a server for something; what went wrong is said, not shown as a page.
export function action({ word, label, key, kind, run, done, disabled }) {
  return element("button", {
    type: "button", class: kind, "aria-label": label, "data-key": key ?? label ?? word, disabled,
    onclick: async (event) => {
      const button = event.currentTarget;
      button.disabled = true;
      try {
        await run();
      } catch (problem) {
        tell(problem.message);
      }
      button.disabled = false;
      done?.();
    },
  }, word);
}
