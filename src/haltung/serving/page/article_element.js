// The article as running text, or where its dyads are known, sentence below sentence with arrows from source to target; each sentence
// can be chosen, by hand or by keyboard.

import { marked } from "./actors.js";
import { draw } from "./arrows.js";
import { paint, quiet } from "./colours.js";
import { make, tell } from "./dom.js";
import { idsOf, labelOf, paragraphs, passes, unsure } from "./reading.js";
import { words } from "./words.js";

const STEPS = { ArrowDown: 1, ArrowRight: 1, j: 1, J: 1, ArrowUp: -1, ArrowLeft: -1, k: -1, K: -1, Home: -Infinity, End: Infinity };

/**
 * Shows `view` = {language, tasks, facets, colouring, headline, text, from, segments, removed, notes, filters, chosen}; tells `choose` with
 * an index or null. `from` is the place in the text at which the article begins, behind a headline.
 */
class HaltungArticle extends HTMLElement {
  #view = null;
  #sentences = [];
  #scenes = [];
  #width = 0;
  #watch = new ResizeObserver(() => this.#draw());

  connectedCallback() {
    this.#watch.observe(this);
    this.addEventListener("keydown", (event) => this.#walk(event));
    this.addEventListener("click", (event) => {
      const sentence = event.target.closest(".sentence");
      // Who marks a passage to copy it does not mean to choose.
      if (sentence && getSelection().isCollapsed) this.#choose(this.#toggled(sentence));
    });
  }

  disconnectedCallback() {
    this.#watch.disconnect();
  }

  /** Show another article, or the same in another language. */
  set view(view) {
    this.#view = view;
    this.#scenes = [];
    this.#sentences = view.segments.map((segment, index) => this.#sentence(segment, index));
    const drawn = view.segments.some(({ dyads }) => dyads);
    const text = make("div", { class: drawn ? "text drawn" : "text", role: "group", "aria-label": words(view.language).article });
    const removed = view.removed ?? [];
    for (const pieces of paragraphs(view.text, view.segments, removed, view.from)) {
      const shown = pieces.map((piece) => piece.text ?? this.#sentences[piece.segment] ?? this.#removed(removed[piece.removed]));
      text.append(make("p", { lang: "de", dir: "auto" }, shown));
    }
    const headline = view.headline && make("h3", { class: "headline", lang: "de", dir: "auto" }, view.headline);
    // The server tells them in English.
    const notes = (view.notes ?? []).map((note) => make("p", { class: "remark", lang: "en" }, `${words("en").thisArticle} ${note}.`));
    this.replaceChildren(...[headline, ...notes, text].filter(Boolean));
    this.update();
    this.#width = 0;
    this.#draw();
  }

  /** Show what is chosen and what passes the filters; the text stays as it is. */
  update() {
    const { facets, segments, filters, chosen } = this.#view;
    const open = segments.map((segment) => passes(segment, facets, filters));
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
    const drawn = Boolean(segment.dyads);
    const silent = quiet(id) && !doubtful && !drawn;
    const tag = make("span", { class: silent ? "unseen" : "tag", lang: language }, doubtful ? words(language).unsureTag(name) : name);
    // The mark stays on the line of the last word.
    const gap = silent ? " " : "\u00a0";
    const sentence = make("span", { class: "sentence", role: "button", "data-index": index });
    if (drawn) this.#mark(sentence, segment, tag);
    else sentence.append(make("span", { class: "words" }, segment.text), gap, tag);
    if (doubtful) sentence.classList.add("unsure");
    paint(sentence, colouring, id);
    return sentence;
  }

  // A sentence of an article with dyads: its actors, the chips of those it does not name, its labels, and the dyads in words.
  #mark(sentence, segment, tag) {
    const { language, tasks, colouring } = this.#view;
    const { said, before, after, links, told } = marked(segment, this.#view);
    const besides = tasks.filter((task) => task !== colouring);
    const others = besides.flatMap((task) => idsOf(segment, task).map((id) => labelOf(task, id)[language]));
    const topic = others.length ? make("span", { class: "tag topic", lang: language }, others.join(", ")) : null;
    const chips = (found) => found.flatMap((chip) => [chip, " "]);
    const labels = make("span", { class: "labels" }, tag, ...(topic ? [" ", topic] : []));
    sentence.append(...chips(before), make("span", { class: "words" }, said), " ", ...chips(after), labels, ...(told ? [" ", told] : []));
    this.#scenes.push({ sentence, links });
  }

  #removed({ text, kind }) {
    const { language } = this.#view;
    const { removed, kinds } = words(language);
    const tag = make("span", { class: "tag", lang: language }, removed(kinds[kind] ?? kind));
    return make("span", { class: "removed" }, make("s", {}, text), " ", tag);
  }

  // Arrows go from place to place, and are drawn again where the places have moved.
  #draw() {
    if (this.clientWidth === this.#width) return;
    this.#width = this.clientWidth;
    draw(this.#scenes);
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
    const { facets, segments, filters } = this.#view;
    const open = segments.flatMap((segment, index) => (passes(segment, facets, filters) ? [index] : []));
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
