// Calls of a JSON API that answers {"success", "data"} or {"success", "error"}; numbers exact.

import { readExact } from "./exact.js";

const PATIENCE_MS = 10_000;

export class Failure extends Error {
  constructor({ status = 0, code = "", message, details = "" }) {
    super(message);
    Object.assign(this, { status, code, details });
  }
}

// `words` say what no server could: that nobody answers, or not as agreed.
export function makeApi({ token, words, get = fetch }) {
  async function ask(path, options = {}) {
    let response;
    let text;
    try {
      response = await get(path, { ...options, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS),
        headers: { Authorization: `Bearer ${token}`, ...options.headers } });
      text = await response.text();
    } catch {
      throw new Failure({ message: words("no.answer") });
    }
    let said;
    try {
      said = readExact(text);
    } catch {
      throw new Failure({ status: response.status, message: words("unreadable", { status: response.status }) });
    }
    if (said.success !== true) throw new Failure({ status: response.status, ...said.error });
    return said.data;
  }

  return {
    get: (path, query = {}) => {
      const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
      const text = new URLSearchParams(given).toString();
      return ask(text ? `${path}?${text}` : path);
    },
    post: (path, body) => ask(path, { method: "POST", body, headers: { "Content-Type": "application/json" } }),
  };
}
