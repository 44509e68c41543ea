// Words in English and Khmer. A page hands over its two tables; a word that Khmer lacks is
// said in English, a key that nobody knows is shown as itself, so that it is noticed.

export const LANGUAGES = { en: "English", km: "ខ្មែរ" };
const KEPT = "language";

export function translator(tables, language) {
  return (key, values = {}) => {
    const found = tables[language]?.[key] ?? tables.en[key] ?? key;
    return found.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
  };
}

// The language that was chosen here before, else the browser's first one that we speak.
export function chosenLanguage({ kept = stored(), wanted = navigator.languages } = {}) {
  if (kept in LANGUAGES) return kept;
  return [...wanted].map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag in LANGUAGES) ?? "en";
}

function stored() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null; // storage is switched off
  }
}

export function keepLanguage(language) {
  document.documentElement.lang = language;
  try {
    localStorage.setItem(KEPT, language);
  } catch { /* for this page alone, then */ }
}
