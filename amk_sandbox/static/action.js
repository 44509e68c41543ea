// A button that asks the server for something; a failure is said, not shown as a page.

import { element } from "./dom.js";

const NOTICE_MS = 6000;
let noticeTimer = 0;

export function tell(words) {
  const notice = document.getElementById("notice");
  notice.textContent = words;
  notice.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => { notice.hidden = true; }, NOTICE_MS);
}

export function action(word, label, run, done) {
  // The key lets the focus find its button again after the table was drawn anew.
  return element("button", {
    type: "button", "aria-label": label, "data-key": label,
    onclick: async (event) => {
      event.currentTarget.disabled = true;
      try {
        await run();
      } catch (problem) {
        tell(problem.message);
      }
      done();
    },
  }, word);
}

export function opener(text, key, open) {
  return element("button", { type: "button", class: "plain", "data-key": key, onclick: open }, text);
}
