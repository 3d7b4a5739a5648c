// Thumbs under an answer, with a reason and a comment for those who want to say more.

import { send } from "./api.js";
import { button, iconButton, make, toast } from "./dom.js";

const REASONS = {
  up: [["correct", "Correct"], ["clear", "Clear"], ["complete", "Complete"]],
  down: [["wrong", "Wrong"], ["incomplete", "Incomplete"], ["sources", "Wrong sources"], ["unclear", "Unclear"]],
};
let number = 0;

/** The controls for one answer, and the form that they open. */
export function feedback(turn) {
  const more = make("div", { class: "feedback", hidden: true });
  const thumbs = ["up", "down"].map((rating) => {
    const label = rating === "up" ? "A good answer" : "A bad answer";
    return iconButton(rating, label, () => rate(turn, rating, thumbs, more), { "aria-pressed": turn.rating === rating, "data-rating": rating });
  });
  return { thumbs, more };
}

async function rate(turn, rating, thumbs, more) {
  if (!(await give(turn, { rating }))) return;
  for (const thumb of thumbs) thumb.setAttribute("aria-pressed", String(thumb.dataset.rating === rating));
  more.replaceChildren(form(turn, rating, more));
  more.hidden = false;
  more.scrollIntoView({ block: "nearest" });
}

function form(turn, rating, more) {
  number += 1;
  const reasons = REASONS[rating].map(([value, label]) => make("label", { class: "chip" }, make("input", { type: "radio", name: `reason-${number}`, value }), label));
  const comment = make("textarea", { rows: 2, maxlength: 4000, dir: "auto", "aria-label": "Comment", placeholder: "What else is there to say? (optional)" });
  const element = make("form", {},
    make("fieldset", {}, make("legend", {}, rating === "up" ? "What was good?" : "What was wrong?"), make("div", { class: "row" }, ...reasons)),
    comment,
    make("div", { class: "row" }, make("button", { type: "submit", class: "primary" }, "Send"), button("Not now", () => { more.hidden = true; }, { class: "plain" })));
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    const reason = new FormData(element).get(`reason-${number}`);
    if (!(await give(turn, { rating, reason: reason ?? undefined, comment: comment.value.trim() || undefined }))) return;
    more.hidden = true;
    toast("Thank you, your feedback is stored");
  });
  return element;
}

async function give(turn, given) {
  try {
    await send("/feedback", { method: "POST", json: { turn: turn.trace, session_id: turn.session, ...given } });
  } catch (problem) {
    toast(`Your feedback was not stored. ${problem.title}: ${problem.detail}`, true);
    return false;
  }
  turn.rating = given.rating;
  turn.rated?.();
  return true;
}
