// Amounts as people read them. An amount is text all the way; digits are grouped, not computed.

const DECIMALS = { USD: 2, KHR: 0 };
const GROUP = "\u202f"; // a narrow space that does not break

// Digits in groups of three, the currency's own decimals. Nothing that says a value is cut:
// an amount with more decimals than its currency has is shown as it came.
export function digits(amount, currency) {
  const [, sign, whole, fraction = ""] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(amount) ?? [];
  if (whole === undefined) return amount;
  const wanted = DECIMALS[currency] ?? fraction.length;
  const said = fraction.replace(/0+$/, "");
  const shown = said.length > wanted ? fraction : said.padEnd(wanted, "0");
  return `${sign}${whole.replace(/\B(?=(\d{3})+$)/g, GROUP)}${shown ? `.${shown}` : ""}`;
}

export const money = (amount, currency) =>
  (amount === undefined || amount === null || amount === "" ? "–" : `${digits(amount, currency)}\u00a0${currency ?? ""}`);

export const count = (text) => digits(String(text ?? "0"));
