// The article's dyads as a table: what the arrows show, in words and in order.

import { paint } from "./colours.js";
import { make, tell } from "./dom.js";
import { NOBODY, labelOf, pieces } from "./reading.js";
import { percent, words } from "./words.js";

/** Shows the same `view` as the article; tells `choose` with the index of a row's sentence. */
class HaltungDyads extends HTMLElement {
  #view = null;

  set view(view) {
    const open = this.querySelector("details")?.open ?? false;
    this.#view = view;
    const text = words(view.language);
    const rows = view.segments.flatMap((segment, index) => (segment.dyads ?? []).map((dyad) => this.#row(segment, index, dyad)));
    this.hidden = !rows.length;
    if (this.hidden) {
      this.replaceChildren();
      return;
    }
    const head = make("tr", {}, text.columns.map((name) => make("th", { scope: "col" }, name)));
    const table = make("table", {}, make("thead", {}, head), make("tbody", {}, rows));
    const scroller = make("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": text.dyads }, table);
    this.replaceChildren(make("details", { open }, make("summary", {}, text.table(rows.length)), scroller));
  }

  update() {}

  #row(segment, index, dyad) {
    const { language, colouring } = this.#view;
    const stance = make("td", { class: "stance" }, labelOf(colouring, dyad.stance)[language]);
    paint(stance, colouring, dyad.stance);
    const place = make("button", { type: "button", class: "plain", onclick: () => tell(this, "choose", index) }, String(index + 1));
    return make(
      "tr",
      {},
      make("td", {}, place),
      this.#who(segment, dyad.source, dyad.source_span),
      this.#who(segment, dyad.target, dyad.target_span),
      stance,
      make("td", { class: "number" }, dyad.probability === undefined ? "" : percent(dyad.probability, language)),
      make("td", {}, dyad.plover || NOBODY),
    );
  }

  #who(segment, code, span) {
    const said = span && pieces(segment).filter(({ start, end }) => start < span[1] && end > span[0]).map(({ text }) => text).join("");
    const aside = said ? make("span", { class: "said", lang: "de", dir: "auto" }, `„${said}“`) : null;
    return make("td", {}, make("span", { class: "code" }, code || NOBODY), ...(aside ? [" ", aside] : []));
  }
}

customElements.define("haltung-dyads", HaltungDyads);
