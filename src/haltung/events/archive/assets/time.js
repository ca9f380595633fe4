// The slider over time: two thumbs on one line, the months' events above it, and a button that moves the window on. A page whose events
// are not of several months has none of it.

const strip = document.getElementById("strip");
const thumbs = [document.getElementById("from"), document.getElementById("to")];
const playButton = document.getElementById("play");
const told = document.getElementById("period");
const SECOND = 1000;
let playing = null;

function setUpTime(changed) {
  if (!strip) return;
  for (const [place, thumb] of thumbs.entries()) {
    set(thumb, { max: data.months.length - 1, value: place ? view.to : view.from });
    thumb.addEventListener("input", () => {
      pause();
      const value = Number(thumb.value);
      if (place) view.to = Math.max(value, view.from);
      else view.from = Math.min(value, view.to);
      thumb.value = String(place ? view.to : view.from);
      changed();
    });
  }
  playButton.addEventListener("click", () => (playing ? pause() : play(changed)));
}

/** Move the window through the months; where all are chosen, a window of a sensible width first. */
function play(changed) {
  const last = data.months.length - 1;
  const size = wholePeriod() ? (last > 48 ? 12 : last > 12 ? 3 : 1) : view.to - view.from + 1;
  const step = Math.max(1, Math.round(last / 80));
  if (wholePeriod() || view.to >= last) [view.from, view.to] = [0, size - 1];
  changed();
  playing = setInterval(() => {
    if (view.to >= last) {
      pause();
      return;
    }
    view.to = Math.min(last, view.to + step);
    view.from = view.to - size + 1;
    changed();
  }, SECOND / 2);
  playButton.textContent = say("pause");
}

function pause() {
  if (!playing) return;
  clearInterval(playing);
  playing = null;
  playButton.textContent = say("play");
}

function drawTime(shown) {
  if (!strip) return;
  const count = data.months.length;
  const most = Math.max(1, ...shown.months);
  set(strip, { viewBox: `0 0 ${count} 30`, preserveAspectRatio: "none" });
  const bar = (total, month) => {
    const height = (28 * total) / most;
    const inside = month >= view.from && month <= view.to;
    return draw("rect", { x: month + 0.08, y: 30 - height, width: 0.84, height, class: inside ? "in" : null });
  };
  strip.replaceChildren(...shown.months.map((total, month) => (total ? bar(total, month) : null)).filter(Boolean));
  const names = [view.from, view.to].map((month) => monthName(data.months[month]));
  for (const [place, thumb] of thumbs.entries()) {
    thumb.value = String(place ? view.to : view.from);
    thumb.setAttribute("aria-valuetext", names[place]);
  }
  thumbs[0].parentElement.style.setProperty("--from", String(view.from / (count - 1)));
  thumbs[0].parentElement.style.setProperty("--to", String(view.to / (count - 1)));
  told.textContent = say("period_told", { from: names[0], to: names[1], events: counted("events", shown.total) });
}
