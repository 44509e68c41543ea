// The two switches at the head of every page: language, and light or dark.

import { element } from "./dom.js";
import { LANGUAGES, keepLanguage } from "./i18n.js";

const KEPT = "theme";
const THEMES = { auto: "◐", light: "☀", dark: "☾" };

export function keptTheme() {
  try {
    const kept = localStorage.getItem(KEPT);
    return kept in THEMES ? kept : "auto";
  } catch {
    return "auto";
  }
}

export function useTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(KEPT, theme);
  } catch { /* for this page alone, then */ }
}

const choice = (key, label, shown, pressed, choose, lang) => element("button", {
  type: "button", "data-key": key, "aria-pressed": String(pressed), "aria-label": label, title: label, lang, onclick: choose,
}, shown);

export function switches({ language, t, changed }) {
  return [
    element("div", { class: "switch", role: "group", "aria-label": t("language") },
      Object.entries(LANGUAGES).map(([code, name]) => choice(`language ${code}`, name, name, code === language, () => {
        keepLanguage(code);
        changed(code);
      }, code))),
    element("div", { class: "switch", role: "group", "aria-label": t("theme") },
      Object.entries(THEMES).map(([theme, icon]) => choice(`theme ${theme}`, t(`theme.${theme}`), icon, theme === keptTheme(), () => {
        useTheme(theme);
        changed(language);
      }))),
  ];
}

// The words that the kit itself says.
export const LOOK_WORDS = {
  en: { language: "Language", theme: "Light or dark", "theme.auto": "As the system", "theme.light": "Light", "theme.dark": "Dark" },
  km: { language: "ភាសា", theme: "ភ្លឺ ឬងងឹត", "theme.auto": "តាមប្រព័ន្ធ", "theme.light": "ភ្លឺ", "theme.dark": "ងងឹត" },
};
