// Elements from values: every value reaches the page as text.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "onclick") made.addEventListener("click", value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

export function put(id, ...children) {
  document.getElementById(id).replaceChildren(...children);
}

// Digits in groups of three; the amount itself is text and stays exact.
export function money(amount, currency) {
  const [whole, fraction] = amount.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, "\u202f");
  return `${grouped}${fraction === undefined ? "" : `.${fraction}`}\u00a0${currency}`;
}

// "2026-11-23T12:00:00+07:00" as the server wrote it: Phnom Penh time with its offset.
export function moment(text) {
  const [, day, time, offset] = /^(.{10})T(.{8})(.*)$/.exec(text);
  return `${day} ${time} ${offset}`;
}

const STATES = {
  CONFIRMED: ["✓", "Confirmed", "good"],
  PENDING: ["…", "Pending", "wait"],
  REVERSED: ["↩", "Reversed", "bad"],
  REFUSED: ["✕", "Refused", "bad"],
  DUE: ["●", "Due", "wait"],
  SETTLED: ["✓", "Nothing due", "good"],
  LIVE: ["●", "Live", "wait"],
  PAID: ["✓", "Paid", "good"],
  EXPIRED: ["○", "Expired", "quiet"],
  WITHHELD: ["○", "Never sent", "quiet"],
  ON: ["▲", "On", "bad"],
  OFF: ["○", "Off", "quiet"],
};

export function state(name) {
  const [icon, word, tone] = STATES[name];
  return element("span", { class: `state ${tone}` }, `${icon} ${word}`);
}

export function table(heads, rows, empty) {
  if (!rows.length) return element("p", { class: "empty" }, empty);
  const head = heads.map(([text, kind]) => element("th", { scope: "col", class: kind, "aria-label": text ? null : "Actions" }, text));
  return element("table", {},
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...rows.map((cells) => element("tr", {},
      ...cells.map((cell, at) => element("td", { class: heads[at][1] }, cell))))));
}

export function pairs(entries) {
  return entries.flatMap(([term, value]) => [element("dt", {}, term), element("dd", {}, value)]);
}
