// The article as running text; each sentence can be chosen, by hand or by keyboard.

import { paint, quiet } from "./colours.js";
import { make, tell } from "./dom.js";
import { idsOf, labelOf, paragraphs, passes, unsure } from "./reading.js";
import { words } from "./words.js";

const STEPS = { ArrowDown: 1, ArrowRight: 1, j: 1, J: 1, ArrowUp: -1, ArrowLeft: -1, k: -1, K: -1, Home: -Infinity, End: Infinity };

/** Shows `view` = {language, tasks, colouring, headline, text, segments, filters, chosen}; tells `choose` with an index or null. */
class HaltungArticle extends HTMLElement {
  #view = null;
  #sentences = [];

  connectedCallback() {
    this.addEventListener("keydown", (event) => this.#walk(event));
    this.addEventListener("click", (event) => {
      const sentence = event.target.closest(".sentence");
      // Who marks a passage to copy it does not mean to choose.
      if (sentence && getSelection().isCollapsed) this.#choose(this.#toggled(sentence));
    });
  }

  /** Show another article, or the same in another language. */
  set view(view) {
    this.#view = view;
    this.#sentences = view.segments.map((segment, index) => this.#sentence(segment, index));
    const text = make("div", { class: "text", role: "group", "aria-label": words(view.language).article });
    for (const pieces of paragraphs(view.text, view.segments)) {
      text.append(make("p", { lang: "de" }, pieces.map((piece) => piece.text ?? this.#sentences[piece.segment])));
    }
    this.replaceChildren(...(view.headline ? [make("h3", { class: "headline", lang: "de" }, view.headline)] : []), text);
    this.update();
  }

  /** Show what is chosen and what passes the filters; the text stays as it is. */
  update() {
    const { tasks, segments, filters, chosen } = this.#view;
    const open = segments.map((segment) => passes(segment, tasks, filters));
    const entry = chosen ?? open.indexOf(true);
    this.#sentences.forEach((sentence, index) => {
      sentence.classList.toggle("aside", !open[index]);
      sentence.setAttribute("aria-pressed", String(index === chosen));
      sentence.tabIndex = index === entry ? 0 : -1;
    });
  }

  /** Bring a sentence into view, clear of the panel. */
  reveal(index) {
    this.#sentences[index]?.scrollIntoView({ block: "nearest" });
  }

  /** Move the keyboard to a sentence. */
  reach(index) {
    this.#sentences[index]?.focus();
  }

  #sentence(segment, index) {
    const { language, colouring } = this.#view;
    const [id] = idsOf(segment, colouring);
    const doubtful = unsure(segment, colouring);
    const name = id === undefined ? words(language).none : labelOf(colouring, id)[language];
    const silent = quiet(id) && !doubtful;
    const tag = make("span", { class: silent ? "unseen" : "tag", lang: language }, doubtful ? words(language).unsureTag(name) : name);
    // The mark stays on the line of the last word.
    const gap = silent ? " " : "\u00a0";
    const said = make("span", { class: "words" }, segment.text);
    const sentence = make("span", { class: "sentence", role: "button", "data-index": index }, said, gap, tag);
    if (doubtful) sentence.classList.add("unsure");
    paint(sentence, colouring, id);
    return sentence;
  }

  #walk(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const sentence = event.target.closest(".sentence");
    if (!sentence) return;
    if (event.key === "Enter" || event.key === " ") this.#choose(this.#toggled(sentence));
    else if (event.key in STEPS) this.#step(Number(sentence.dataset.index), STEPS[event.key]);
    else return;
    event.preventDefault();
  }

  #step(from, step) {
    const { tasks, segments, filters } = this.#view;
    const open = segments.flatMap((segment, index) => (passes(segment, tasks, filters) ? [index] : []));
    if (!open.length) return;
    const next = step > 0 ? open.find((index) => index > from) : open.findLast((index) => index < from);
    const target = Number.isFinite(step) ? next : step > 0 ? open.at(-1) : open[0];
    if (target === undefined) return;
    this.#choose(target);
    this.reach(target);
  }

  #toggled(sentence) {
    const index = Number(sentence.dataset.index);
    return index === this.#view.chosen ? null : index;
  }

  #choose(index) {
    tell(this, "choose", index);
  }
}

customElements.define("haltung-article", HaltungArticle);
