// The address after # says which page and which query, so that it can be sent to a colleague.
// That part of an address never reaches a server: no policy number stands in a log.

export const PAGES = ["today", "payments", "exceptions", "events", "system"];

export function read(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [first, id] = path.split("/").map(decodeURIComponent);
  const page = PAGES.includes(first) ? first : "today";
  return { page: page === "payments" && id ? "case" : page, id: id ?? "", query: Object.fromEntries(new URLSearchParams(query)) };
}

export function address(page, query = {}, id = "") {
  const given = Object.entries(query).filter(([, value]) => value);
  const text = new URLSearchParams(given).toString();
  return `#/${page}${id ? `/${encodeURIComponent(id)}` : ""}${text ? `?${text}` : ""}`;
}

export const caseAddress = (bill) => address("payments", {}, String(bill));
export const searchAddress = (text) => address("payments", { q: text });
