// What the page remembers between visits: language and colours. Neither texts nor keys are kept.

const LANGUAGES = ["de", "en"];
const THEMES = ["auto", "light", "dark"];

/** Return the language last chosen, else the browser's if it is German, else English. */
export function language() {
  const kept = recall("language", LANGUAGES);
  return kept ?? ((navigator.language || "en").toLowerCase().startsWith("de") ? "de" : "en");
}

/** Return the theme last chosen, else "auto": as the system has it. */
export function theme() {
  return recall("theme", THEMES) ?? "auto";
}

/** Tell whether something was last switched on. */
export function switched(name, usually) {
  return (recall(name, ["true", "false"]) ?? String(usually)) === "true";
}

/** Apply a value, check its radio button, and apply and remember each that is chosen. */
export function offer(name, value, apply) {
  apply(value);
  for (const input of document.querySelectorAll(`input[name="${name}"]`)) {
    input.checked = input.value === value;
    input.addEventListener("change", () => {
      remember(name, input.value);
      apply(input.value);
    });
  }
}

/** Let the page be seen in the theme that is chosen. */
export function offerThemes() {
  offer("theme", theme(), (chosen) => {
    document.documentElement.dataset.theme = chosen;
  });
}

/** Keep a choice; where the browser allows no storage, it lasts as long as the page. */
export function remember(name, value) {
  try {
    localStorage.setItem(`haltung.${name}`, value);
  } catch {
    // A private window: nothing is kept, and nothing else is lost.
  }
}

function recall(name, allowed) {
  try {
    const value = localStorage.getItem(`haltung.${name}`);
    return allowed.includes(value) ? value : null;
  } catch {
    return null;
  }
}
