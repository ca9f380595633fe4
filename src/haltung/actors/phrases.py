"""Join words into one mention: "russische Opposition", "Sprecher des Pentagon"."""

import itertools

from haltung.actors.matching import Item, state_of
from haltung.files import patterns

_RE = patterns("haltung.actors", "phrases")
_WHERES = frozenset({"state", "capital", "city", "region"})
_DESCRIBED = frozenset({"group", "party", "media", "company", "institution", "organisation"})
_NAMES = _WHERES | _DESCRIBED | {"palace", "office"}
_JOINING = frozenset({"adjective", "resident"})


def phrases(items: list[Item], text: str) -> list[Item]:
    """Return the items with roles bound, places marked and head nouns filled in."""
    if len(items) > 1 and any(item.kind == "role" for item in items):
        items = _bound(items, text)
    for before, item in zip([None, *items], items, strict=False):
        kind = item.kind
        if kind in _WHERES or kind == "resident":
            # "Berlin/Wien –": a name joined to a place is also a place.
            joined = before is not None and before.place and text[before.end : item.start] == "/"
            item.place = item.place or joined or _is_place(item, text)
        if not item.head and (kind in _JOINING or text[item.end : item.end + 1] == "-"):
            noun = _RE["noun"].match(text, item.end)
            item.head = noun[1] if noun else ""
        if kind == "resident" and not item.bound and item.entry.key != "palace":
            item.place = True
        if kind == "people":
            # "Die Russen" refers to the state, "Russen" to its people.
            collective = _RE["collective"].search(text, max(0, item.start - 10), item.start) or text[item.end : item.end + 5] == " und "
            item.options = item.options if collective else tuple(map(_civil, item.options))
    for one, other in itertools.pairwise(items):
        _agree(one, other, text)
    return [item for item in items if item.kind != "gone"]


def _agree(before: Item, item: Item, text: str) -> None:
    """Give persons their office's code; "Pakistanische Volkspartei" is not an Austrian party."""
    gap = text[before.end : item.start]
    office = before.kind == "office" and before.bound and before.entry.noun == "office" and before.options
    # "Die Rebellengruppe M23": the noun only describes the name.
    if before.kind == "role" and before.entry.noun in ("body", "people") and item.kind in _DESCRIBED and gap in (" ", " „", ' "'):
        before.kind = "gone"
    elif item.kind == "person" and office and _RE["first_names"].fullmatch(gap):
        item.options = before.options
    elif gap == " " and item.kind in ("party", "institution") and before.kind == "adjective" and not before.bound:
        states = {state_of(code) for code in before.options}
        if not states & {state_of(code) for code in item.options}:
            item.options = tuple(f"{code[:3]}{item.options[0][3:]}" for code in before.options)


def _bound(items: list[Item], text: str) -> list[Item]:
    """Bind roles from the right: "Chef der russischen Regierung" needs the government's code."""
    out: list[Item] = []
    for index, item in reversed(list(enumerate(items))):
        if item.kind == "gone":
            continue
        if item.kind == "role":
            if index and _takes_before(items[index - 1], item, text):
                _bind_before(items, index, text)
            elif out:
                _bind_after(item, out, text)
        out.append(item)
    return out[::-1]


def _takes_before(before: Item, role: Item, text: str) -> bool:
    gap = text[before.end : role.start]
    if gap in ("-", ""):
        return before.kind not in ("role", "person")
    # "Russlands Präsident": a genitive before its noun.
    if before.kind in _JOINING or (before.kind in ("state", "capital", "region") and text[before.end - 1] in "s’'"):
        return _RE["adjectives"].fullmatch(gap) is not None
    return before.kind in ("state", "organisation") and gap == " " and text[before.start : before.end].isupper()


def _bind_before(items: list[Item], index: int, text: str) -> None:
    """Bind a role to the item before it and to coordinated ones: "türkische und russische …"."""
    role = items[index]
    # The role's mention begins with its modifier, so the modifier is no longer an item of its own.
    for other, after in reversed([*itertools.pairwise(items[:index])]):
        if other.kind not in _JOINING or not _RE["coordinated"].fullmatch(text[other.end : after.start]):
            break
        other.options = _with(other, role)
        other.head, other.place, other.bound, other.kind = _word(role, text), role.entry.role == "place", True, _kind(other, role)
    before = items[index - 1]
    role.options = _with(before, role, _is_former(before, role, text))
    role.place = role.entry.role == "place" or (role.entry.noun == "thing" and before.place)
    role.head, role.kind, role.start, role.bound = _word(role, text), _kind(before, role), before.start, role.entry.noun != "thing"
    before.kind = "gone"


def _bind_after(role: Item, out: list[Item], text: str) -> None:
    """Bind a role to the item after it: "Sprecher des Pentagon", "Präsident Obama"."""
    after = out[-1]
    if role.entry.noun == "thing":
        return
    gap = text[role.end : after.start]
    inside = role.entry.noun in ("body", "people") or role.entry.role not in ("", "=")
    if after.kind == "person":
        if gap == " " and (not role.entry.role or "-" in role.entry.role) and role.entry.noun == "office":
            former = _is_former(role, role, text)
            role.options = tuple(dict.fromkeys(_civil(code) if former else add_role(code, "") for code in after.options))
            role.bound, role.head, role.kind = True, _word(role, text), "office"
        return
    if after.kind != "resident" and (after.kind not in _NAMES or (after.kind == "office" and not after.bound)):
        return
    of = _RE["of"].fullmatch(gap) and (gap.strip() or text[after.end - 1] == "s")
    if not of and not (inside and after.kind in _WHERES and _RE["in"].fullmatch(gap)):
        return
    if role.entry.role == "place":
        after.place = True
        return
    role.options = _with(after, role, _is_former(role, role, text))
    role.head, role.kind, role.end, role.bound = _word(role, text), _kind(after, role), after.end, True
    out.pop()


def _with(base: Item, role: Item, former: bool = False) -> tuple[str, ...]:
    """Return the codes of the holder, or ``former`` holder, of a role in or for ``base``."""
    suffix = role.entry.role
    # The governor of a central bank is not a regional one: an institution keeps its code.
    is_kept = suffix in ("=", "place") or base.kind == "institution"
    options = base.options if is_kept else tuple(dict.fromkeys(add_role(code, suffix) for code in base.options))
    return tuple(map(_civil, options)) if former else options


def add_role(code: str, role: str) -> str:
    """Return a role's code, such as ``RUS-OPP``; a party's minister has the code of the state."""
    state, dash, present = code.partition("-")
    if "-" in role:  # "Ministerpräsident" is regional in Germany, the head of government elsewhere
        role = role.partition("-")[2] if role.startswith(state) else ""
    if not state_of(code) or present in ("REB", "JUD", "MED", "BUS"):
        return code
    if not role:
        return state if present in ("OPP", "GOVPARTY") else code
    return f"{state}-{role}" if role in ("REG", "JUD", "CIV", "MED", "BUS", "REB") or not dash else code


def _civil(code: str) -> str:
    return f"{state_of(code)}-CIV" if state_of(code) else code


def _kind(base: Item, role: Item) -> str:
    return base.kind if role.entry.noun == "thing" or role.entry.role == "place" else "office"


def _word(role: Item, text: str) -> str:
    return text[role.start : role.end].rsplit("-", 1)[-1]


def _is_former(first: Item, role: Item, text: str) -> bool:
    if role.entry.noun != "office":
        return False
    word = text[role.start : role.end]
    before = text[max(0, first.start - 30) : first.start]
    prefixed = before.endswith(("Ex-", "ex-", "Alt-")) or word.startswith(("Alt", "Ex-", "Expräsident", "Exminister", "Exkanzler"))
    between = text[first.end : role.start] if first is not role else ""
    return prefixed or between.strip() in ("Ex-", "Ex") or bool(_RE["former"].search(before) or _RE["former"].search(between.lstrip()))


def _is_place(item: Item, text: str) -> bool:
    if item.kind == "city" or _RE["where"].search(text, max(0, item.start - 40), item.start) is not None:
        return True
    if text[item.start - 1 : item.start] == "(" and text[item.end : item.end + 1] == ")":
        return True
    return item.start == 0 and _RE["dateline"].match(text, item.end) is not None
