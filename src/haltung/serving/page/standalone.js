// The page without a server: it shows the articles that stand in it (see article_page.py).

import "./legend_element.js";
import { make } from "./dom.js";
import { tasksOf } from "./reading.js";
import { follow, viewOf } from "./result.js";
import { translate, words } from "./words.js";

const find = (id) => document.getElementById(id);
const given = JSON.parse(find("given").textContent);
const shownBelow = follow(find("result"), find("announcement"));
const tasks = tasksOf(given);

let tongue = given.language;
let place = 0;

function open(number) {
  place = number;
  const { headline, text, body, ...answer } = given.articles[number];
  const view = viewOf({ tasks, answer, headline, text, from: body });
  shownBelow.show(view, tongue);
  find("result-title").textContent = about(given.articles[number]);
  find("result").hidden = false;
  find("no-sentence").hidden = view.segments.length > 0;
}

function about({ segments, events, date, medium }) {
  const text = words(tongue);
  return [text.sentences(segments.length), text.counted(events.length), date, medium].filter(Boolean).join(" · ");
}

function offer() {
  const options = given.articles.map(({ id, headline, date, events }, index) => {
    const name = [headline || id, date, words(tongue).counted(events.length)].filter(Boolean).join(" · ");
    return make("option", { value: index }, `${index + 1}. ${name}`);
  });
  find("articles").replaceChildren(...options);
  find("articles").value = String(place);
  find("picker").hidden = options.length < 2;
  find("left-out").textContent = words(tongue).leftOut(options.length, given.count);
  find("left-out").hidden = options.length >= given.count;
}

function speakIn(chosen) {
  tongue = chosen;
  document.documentElement.lang = tongue;
  translate(document, tongue);
  offer();
  if (given.articles.length) open(place);
  else find("no-article").hidden = false;
}

find("articles").addEventListener("change", ({ target }) => open(Number(target.value)));

for (const input of document.querySelectorAll('input[name="language"]')) {
  input.checked = input.value === tongue;
  input.addEventListener("change", () => speakIn(input.value));
}
speakIn(tongue);
