// What every picture needs: the page's data and words, elements made without any markup of a text, numbers and months as the language has them.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const words = read("words");
const language = document.documentElement.lang;
const SVG = "http://www.w3.org/2000/svg";

/** Return one of the words with its values filled in. */
function say(key, values = {}) {
  return words[key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

const number = new Intl.NumberFormat(language).format;

/** Return "1 event", "1,234 events". */
function counted(key, count) {
  return say(count === 1 && `${key}_one` in words ? `${key}_one` : key, { n: number(count) });
}

const monthFormat = new Intl.DateTimeFormat(language, { month: "short", year: "numeric", timeZone: "UTC" });
const dayFormat = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

// A year below 1000 would be one of the last century to Date; such dates are rare slips of an archive, and shown as they stand.
const dated = (format, iso, date) => (iso < "1000" ? iso : format.format(new Date(date)));
const monthName = (month) => dated(monthFormat, month, `${month}-01T00:00Z`);
const dayName = (day) => (day ? dated(dayFormat, day, `${day}T00:00Z`) : say("no_date"));

/** Make an element. Texts become text, never markup; `on…` become listeners; the rest become attributes, false and null none. */
function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Make an element of SVG. */
function draw(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  set(element, attributes);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === false || value === null || value === undefined) element.removeAttribute(name);
    else write(element, name, value === true ? "" : String(value));
  }
}

// What is written anew is laid out anew, even where it is the same.
function write(element, name, text) {
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

/** Let the arrow keys walk through elements of which one is a stop of the tabulator; `all` returns them in order. */
function walk(container, all, steps) {
  container.addEventListener("keydown", (event) => {
    const elements = all();
    const place = elements.indexOf(event.target);
    if (place < 0) return;
    const next = steps(event.key, place, elements);
    if (next === undefined || next === null) return;
    event.preventDefault();
    const chosen = elements[Math.max(0, Math.min(elements.length - 1, next))];
    stop(elements, chosen);
    chosen.focus();
  });
}

/** Make one of the elements the stop of the tabulator. */
function stop(elements, chosen) {
  for (const element of elements) element.setAttribute("tabindex", element === chosen ? "0" : "-1");
}

/** The next place in a row of elements, by key. */
function along(key, place, elements) {
  const steps = { ArrowRight: place + 1, ArrowDown: place + 1, ArrowLeft: place - 1, ArrowUp: place - 1, Home: 0, End: elements.length - 1 };
  return steps[key];
}
