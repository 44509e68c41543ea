// Moments in Phnom Penh time, which has had +07:00 and no daylight saving since 1979.

export const OFFSET = "+07:00";
const OFFSET_MS = 7 * 3_600_000;
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d+))?(?:Z|[+-]\d\d:\d\d)$/;

// Splits an instant into Phnom Penh's day and time; the fraction stays the text it was.
export function local(text) {
  const found = INSTANT.exec(text ?? "");
  const at = found ? Date.parse(text) : NaN;
  if (Number.isNaN(at)) return null;
  const shown = new Date(at + OFFSET_MS).toISOString();
  return { day: shown.slice(0, 10), time: shown.slice(11, 19), fraction: found[1] ?? "" };
}

export function moment(text) {
  const found = local(text);
  return found ? `${found.day} ${found.time} ${OFFSET}` : "–";
}

const STEPS = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1000]];

// A length of time in its two largest units: "3 min 20 s", "412 ms".
export function duration(lengthMs, units = {}) {
  const word = (unit) => units[unit] ?? unit;
  if (!Number.isFinite(lengthMs)) return "–";
  const ms = Math.abs(Math.round(lengthMs));
  const sign = lengthMs < 0 && ms > 0 ? "−" : "";
  if (ms < 1000) return `${sign}${ms} ${word("ms")}`;
  if (ms < 10_000 && ms % 1000) return `${sign}${(ms / 1000).toFixed(2)} ${word("s")}`;
  const at = STEPS.findIndex(([, step]) => ms >= step);
  const [unit, step] = STEPS[at];
  const smaller = STEPS[at + 1];
  const rest = smaller ? Math.floor((ms % step) / smaller[1]) : 0;
  const whole = `${sign}${Math.floor(ms / step)} ${word(unit)}`;
  return rest ? `${whole} ${rest} ${word(smaller[0])}` : whole;
}

// Microseconds count between two steps of a timeline; dates carry them only as text.
export function between(earlier, later) {
  const of = (text) => {
    const found = local(text);
    return found ? Math.floor(Date.parse(text) / 1000) * 1000 + Number(`0.${found.fraction || "0"}`) * 1000 : NaN;
  };
  return of(later) - of(earlier);
}

// The instants that Phnom Penh's `day` begins and ends at.
export function dayBounds(day) {
  const begin = Date.parse(`${day}T00:00:00${OFFSET}`);
  return [new Date(begin).toISOString(), new Date(begin + 86_400_000).toISOString()];
}

export const today = (now) => new Date(now + OFFSET_MS).toISOString().slice(0, 10);
