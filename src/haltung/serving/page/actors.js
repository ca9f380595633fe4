// The words of a sentence with its actors marked, chips for those that a dyad has and the sentence does not name, and the arrows between.

import { rise } from "./arrows.js";
import { paint } from "./colours.js";
import { make } from "./dom.js";
import { NOBODY, labelOf, pieces, towards, unsure } from "./reading.js";
import { percent, words } from "./words.js";

/** Return {said, before, after, links, told}: the nodes of a sentence, its chips, links for `draw`, and the dyads in words. */
export function marked(segment, view) {
  const { language, colouring } = view;
  const shown = pieces(segment).map((piece) => ({ ...piece, actor: piece.code === undefined ? null : actor(piece.text, piece.code) }));
  // Of each code one chip on each side, however many arrows it has.
  const [before, after] = [new Map(), new Map()];
  const end = (span, code, chips) => {
    const found = span && shown.find((piece) => piece.actor && piece.start < span[1] && piece.end > span[0]);
    if (!found && !chips.has(code)) chips.set(code, chip(code, language));
    return found ? found.actor : chips.get(code);
  };
  const dyads = folded(segment, view);
  const links = dyads.map((dyad) => ({
    ...dyad,
    from: end(dyad.source_span, dyad.source, before),
    to: end(dyad.target_span, dyad.target, after),
    title: sentence(dyad),
    dress: (drawn) => {
      paint(drawn, colouring, dyad.stance);
      drawn.classList.toggle("unsure", unsure(segment, colouring));
    },
  }));
  const said = shown.map((piece) => piece.actor ?? piece.text);
  return { said, before: [...before.values()], after: [...after.values()], links, told: told(dyads, view) };
}

/** Write a segment's dyads in words: ["USA → RUS: Warnung, 93 %", …]. */
export function written(segment, view) {
  return folded(segment, view).map(sentence);
}

function actor(text, code) {
  // "EU" needs no "EU" beside it.
  const beside = text === code ? null : code;
  return make("span", { class: "actor", "data-code": beside, title: code }, rise(), make("span", { class: "named" }, text));
}

function chip(code, language) {
  const text = words(language);
  return make("span", { class: "who", title: code ? text.unnamed(code) : text.nobody }, rise(), code || NOBODY);
}

// The dyads with the stance's name and how sure it is; where both sides do the same to each other, one arrow with two heads says it.
function folded({ dyads = [] }, { language, colouring }) {
  const out = [];
  for (const dyad of dyads) {
    const { source, target, stance, probability } = dyad;
    const sure = probability === undefined ? "" : percent(probability, language);
    const same = (one) => one.stance === stance && one.source === target && one.target === source;
    const back = source === target ? undefined : out.find((one) => !one.both && same(one));
    if (!back) {
      out.push({ ...dyad, both: false, name: labelOf(colouring, stance)[language], sure });
      continue;
    }
    back.both = true;
    if (back.sure !== sure) back.sure = `${back.sure} / ${sure}`;
  }
  return out;
}

function sentence(dyad) {
  const { both, name, sure } = dyad;
  return `${both ? towards(dyad).replace("→", "↔") : towards(dyad)}: ${name}${sure && `, ${sure}`}`;
}

// Below the sentence where it is too narrow for arrows, and on paper; elsewhere for those who do not see them.
function told(dyads, { language, colouring }) {
  const out = make("span", { class: "told", lang: language });
  for (const dyad of dyads) {
    const shown = make("span", { class: "towards" }, sentence(dyad));
    paint(shown, colouring, dyad.stance);
    out.append(" ", shown);
  }
  return dyads.length ? out : null;
}
