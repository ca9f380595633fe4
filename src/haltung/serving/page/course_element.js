// The course of the article: one stroke per sentence, as long as it, in its colour. It shows to the eye what the text itself says, and
// is therefore hidden from screen readers and left out by the keyboard.

import { paint } from "./colours.js";
import { make, tell } from "./dom.js";
import { idsOf, passes, unsure } from "./reading.js";

/** Shows the same `view` as the article; tells `choose` with an index. */
class HaltungCourse extends HTMLElement {
  #view = null;
  #strokes = [];

  connectedCallback() {
    this.setAttribute("aria-hidden", "true");
  }

  set view(view) {
    this.#view = view;
    this.#strokes = view.segments.map((segment, index) => {
      const stroke = make("span", { class: "stroke", onclick: () => tell(this, "choose", index) });
      stroke.style.setProperty("--length", String(segment.text.length));
      stroke.classList.toggle("unsure", unsure(segment, view.colouring));
      paint(stroke, view.colouring, idsOf(segment, view.colouring)[0]);
      return stroke;
    });
    this.replaceChildren(...this.#strokes);
    this.update();
  }

  update() {
    const { facets, segments, filters, chosen } = this.#view;
    this.#strokes.forEach((stroke, index) => {
      stroke.classList.toggle("aside", !passes(segments[index], facets, filters));
      stroke.classList.toggle("chosen", index === chosen);
    });
  }
}

customElements.define("haltung-course", HaltungCourse);
