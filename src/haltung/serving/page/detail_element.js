// What the model reads in the chosen sentence: the label of each task, how probable, what else it might be, and what stood before it.

import { written } from "./actors.js";
import { paint } from "./colours.js";
import { make, tell } from "./dom.js";
import { capital } from "./legend_element.js";
import { idsOf, labelOf, probability, ranking, towards, unsure } from "./reading.js";
import { percent, words } from "./words.js";

const MOST = 4;

/** Shows the same `view` as the article; tells `choose` with null when it is closed. */
class HaltungDetail extends HTMLElement {
  #view = null;

  connectedCallback() {
    this.setAttribute("role", "region");
  }

  set view(view) {
    this.#view = view;
    this.setAttribute("aria-label", words(view.language).detail);
    this.update();
  }

  update() {
    const { segments, chosen } = this.#view;
    const segment = segments[chosen];
    this.classList.toggle("open", Boolean(segment));
    this.replaceChildren(...(segment ? this.#read(segment) : this.#hint()));
  }

  #hint() {
    const text = words(this.#view.language);
    const keys = text.keys.flatMap(([names, meaning]) => {
      const caps = names.split(" ").map((name) => make("kbd", {}, name));
      return [make("dt", {}, caps), make("dd", {}, meaning)];
    });
    return [make("p", { class: "hint" }, text.choose), make("dl", { class: "keys" }, keys)];
  }

  #read(segment) {
    const { language, tasks, colouring, segments, chosen } = this.#view;
    const text = words(language);
    const ordered = [colouring, ...tasks.filter((task) => task !== colouring)];
    return [
      make(
        "div",
        { class: "row" },
        make("p", { class: "place" }, text.sentence(chosen + 1, segments.length)),
        make("button", { type: "button", class: "plain close", onclick: () => tell(this, "choose", null) }, text.close),
      ),
      ...ordered.map((task) => this.#task(segment, task)),
      this.#dyads(segment.dyads),
      this.#context(segment.context),
    ].filter(Boolean);
  }

  #task(segment, task) {
    const { language, colouring } = this.#view;
    const ids = idsOf(segment, task);
    const names = ids.map((id) => labelOf(task, id)[language]).join(", ") || words(language).none;
    const label = make("p", { class: "label" }, names);
    if (task === colouring) paint(label, task, ids[0]);
    else label.classList.add("quiet");
    const definition = language === "en" && ids.length === 1 ? labelOf(task, ids[0]).definition : "";
    const bars = ranking(segment, task, MOST).map(([id, value]) => this.#bar(task, id, value, ids.includes(id)));
    return make(
      "section",
      { class: "task" },
      make("h3", {}, capital(task[language])),
      label,
      definition ? make("p", { class: "definition" }, definition) : null,
      unsure(segment, task) ? make("p", { class: "doubt" }, words(language).unsureNote) : null,
      make("ul", { class: "bars" }, bars),
    );
  }

  #bar(task, id, value, said) {
    const { language, colouring } = this.#view;
    const bar = make(
      "li",
      { class: said ? "bar-row said" : "bar-row" },
      make("span", { class: "name" }, labelOf(task, id)[language]),
      make("span", { class: "value" }, percent(value, language)),
      make("span", { class: "track", "aria-hidden": "true" }, make("span", { class: "filled" })),
    );
    bar.style.setProperty("--share", String(value));
    if (task === colouring) paint(bar, task, id);
    else bar.classList.add("quiet");
    return bar;
  }

  #context(context) {
    if (!context) return null;
    const { language } = this.#view;
    return make("section", { class: "context" }, make("h3", {}, words(language).context), make("p", { lang: "de" }, context));
  }

  // Who takes which stance towards whom, where the server tells it.
  #dyads(dyads) {
    if (!dyads?.length) return null;
    const { language, colouring } = this.#view;
    const chips = dyads.map((dyad) => {
      const sure = dyad.probability === undefined ? "" : `, ${percent(dyad.probability, language)}`;
      const chip = make("li", { class: "chip" }, make("b", {}, towards(dyad)), ` ${labelOf(colouring, dyad.stance)[language]}${sure}`);
      paint(chip, colouring, dyad.stance);
      return chip;
    });
    return make("section", { class: "dyads" }, make("h3", {}, words(language).dyads), make("ul", {}, chips));
  }
}

/** Say in one sentence what was read, for those who do not see the panel: "Satz 3 von 8: Haltung Warnung, 93 %; Thema Energie, 88 %". */
export function spoken(view) {
  const { language, tasks, colouring, segments, chosen } = view;
  const segment = segments[chosen];
  if (!segment) return "";
  const ordered = [colouring, ...tasks.filter((task) => task !== colouring)];
  const parts = ordered.map((task) => {
    const said = idsOf(segment, task).map((id) => {
      const value = probability(segment, task, id);
      return labelOf(task, id)[language] + (value === null ? "" : `, ${percent(value, language)}`);
    });
    const doubt = unsure(segment, task) ? `, ${words(language).unsure}` : "";
    return `${capital(task[language])} ${said.join("; ") || words(language).none}${doubt}`;
  });
  return `${words(language).sentence(chosen + 1, segments.length)}: ${[...parts, ...written(segment, view)].join("; ")}`;
}

customElements.define("haltung-detail", HaltungDetail);
