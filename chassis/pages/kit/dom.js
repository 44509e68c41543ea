// Elements from values. Every value reaches the page as text; there is no way to pass HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on") && typeof value === "function") made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

export const element = (name, attributes = {}, ...children) =>
  fill(document.createElement(name), attributes, children);

export const drawing = (name, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, name), attributes, children);

export function put(place, ...children) {
  place.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
}

// Draws anew without taking the keyboard or the reader away: whoever had the focus, what was
// typed, an open fold or a scrolled frame is found again by `data-key`.
const FIELDS = "input[data-key], select[data-key], textarea[data-key]";
export function redraw(place, ...children) {
  const key = (node) => node.dataset.key;
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const open = new Set([...place.querySelectorAll("details[open][data-key]")].map(key));
  const scrolled = new Map([...place.querySelectorAll(".frame[data-key]")]
    .map((node) => [key(node), [node.scrollTop, node.scrollLeft]]));
  const typed = new Map([...place.querySelectorAll(FIELDS)].map((node) => [key(node), node.value]));
  put(place, ...children);
  for (const node of place.querySelectorAll(FIELDS)) if (typed.has(key(node))) node.value = typed.get(key(node));
  for (const node of place.querySelectorAll("details[data-key]")) if (open.has(key(node))) node.open = true;
  for (const node of place.querySelectorAll(".frame[data-key]")) {
    const [top, left] = scrolled.get(key(node)) ?? [0, 0];
    node.scrollTop = top;
    node.scrollLeft = left;
  }
  if (focused) place.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

export const pairs = (entries) => element("dl", { class: "pairs" },
  entries.filter(Boolean).map(([term, value]) => [element("dt", {}, term), element("dd", {}, value)]));

export function fold(summary, key, ...children) {
  return element("details", { "data-key": key }, element("summary", { "data-key": `fold ${key}` }, summary), children);
}
