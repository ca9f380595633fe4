// What is chosen, and what of the events passes it. All pictures of the page show the same tally.

const data = read("data");
const ACTORS = data.actors.map(([code, name]) => ({ code, name }));
const STANCES = data.stances.map(([id, name, short, family]) => ({ id, name, short, family }));
const [SOURCE, TARGET, STANCE, TOPIC, MONTH, PROBABILITY, SENTENCE, ARTICLE, DATE] = data.events[0].keys();
const narrow = () => window.innerWidth < 640;

const view = {
  from: 0,
  to: Math.max(data.months.length - 1, 0),
  stances: new Set(),
  topic: -1,
  fewest: data.fewest,
  count: Math.min(narrow() ? 20 : 40, ACTORS.length),
  most: narrow() ? 100 : 200,
  within: false,
  only: null,
  pinned: null,
  pointed: null,
};

const wholePeriod = () => view.from === 0 && view.to >= data.months.length - 1;

/**
 * Return the arrows that pass the selection, the largest first, and how many events are left out for which reason. Matrix and table have all
 * `arrows`; the network has the largest of them, `drawn`.
 */
function tally() {
  const found = new Map();
  const left = { actors: 0, within: 0, few: 0, only: 0 };
  const months = new Array(data.months.length).fill(0);
  for (const event of data.events) {
    if (view.stances.size && !view.stances.has(event[STANCE])) continue;
    if (view.topic >= 0 && event[TOPIC] !== view.topic) continue;
    const drawn = event[SOURCE] < view.count && event[TARGET] < view.count;
    const inside = event[SOURCE] === event[TARGET];
    const touches = view.only === null || event[SOURCE] === view.only || event[TARGET] === view.only;
    const seen = drawn && (view.within || !inside) && touches;
    if (seen && event[MONTH] >= 0) months[event[MONTH]] += 1;
    if (event[MONTH] < 0 ? !wholePeriod() : event[MONTH] < view.from || event[MONTH] > view.to) continue;
    if (inside && !view.within) left.within += 1;
    else if (!drawn) left.actors += 1;
    else if (!touches) left.only += 1;
    else arrow(found, event).add(event);
  }
  const arrows = [...found.values()].filter((one) => one.total >= view.fewest || void (left.few += one.total));
  for (const one of arrows) one.finish();
  // One order for all pictures, so that of two arrows with as many events the same one is always first.
  arrows.sort((one, other) => other.total - one.total || one.source - other.source || one.target - other.target);
  const drawn = arrows.slice(0, view.most);
  left.few += sum(arrows.slice(view.most));
  return { arrows, drawn, left, months, total: sum(drawn) };
}

const sum = (arrows) => arrows.reduce((total, one) => total + one.total, 0);

function arrow(found, event) {
  const key = event[SOURCE] * ACTORS.length + event[TARGET];
  if (!found.has(key)) found.set(key, new Arrow(key, event[SOURCE], event[TARGET]));
  return found.get(key);
}

/** The events from one actor towards another. */
class Arrow {
  total = 0;
  events = [];

  constructor(key, source, target) {
    const zeros = () => new Array(STANCES.length).fill(0);
    Object.assign(this, { key, source, target, counts: zeros(), sure: zeros() });
  }

  add(event) {
    this.total += 1;
    this.counts[event[STANCE]] += 1;
    this.sure[event[STANCE]] += event[PROBABILITY];
    this.events.push(event);
  }

  /** Take note of the stance with most events and of how many they are; of several stances it is the one that is surest. */
  finish() {
    this.most = Math.max(...this.counts);
    const first = this.counts.flatMap((count, place) => (count === this.most ? [place] : []));
    this.stance = STANCES[first.reduce((one, other) => (this.sure[other] > this.sure[one] ? other : one))];
  }

  /** "2/9" where other stances are among the events, so that a colour never says more than it knows. */
  get share() {
    return this.most < this.total ? `${number(this.most)}/${number(this.total)}` : number(this.total);
  }

  get name() {
    return say("pair", { source: ACTORS[this.source].code, target: ACTORS[this.target].code });
  }

  get fullName() {
    return say("pair", { source: ACTORS[this.source].name, target: ACTORS[this.target].name });
  }

  get label() {
    const told = this.most === this.total ? "only" : this.most * 2 > this.total ? "mostly" : "often";
    return `${this.fullName}: ${counted("events", this.total)}, ${say(told, { stance: this.stance.name, n: number(this.most) })}`;
  }

  /** Up to so many sentences, the surest first, none twice. */
  sentences(most) {
    const seen = new Set();
    const sorted = [...this.events].sort((one, other) => other[PROBABILITY] - one[PROBABILITY]);
    const all = sorted.filter((event) => !seen.has(event[SENTENCE]) && seen.add(event[SENTENCE]));
    return { all: all.length, first: all.slice(0, most) };
  }
}

// The widest arrow of the whole archive, so that a width means as many events whatever is chosen.
const MOST = (() => {
  const totals = new Map();
  for (const event of data.events) {
    if (event[SOURCE] !== event[TARGET]) arrow(totals, event).add(event);
  }
  return Math.max(...[...totals.values()].map((one) => one.total));
})();
const WIDEST_LINE = Math.min(8, 2 + MOST * 0.6);
const widthOf = (count) => 1.3 + (WIDEST_LINE - 1.3) * Math.sqrt(Math.min(count, MOST) / MOST);
