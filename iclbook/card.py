"""A claim as a card: Markdown, for its mathematics, inside HTML; the same card in a chapter and
on the scorecard.

Light: imports neither torch nor pandas.
"""

import math
from html import escape

from iclbook.claim import report
from iclbook.errors import InputError
from iclbook.store import Store

SIGNS = {"reproduced": "✓", "partly": "◐", "not reproduced": "✗", "untestable": "?"}
WHOSE = {"paper": "the paper's", "after-paper": "ours, after the paper", "ours": "ours"}
TOKENS = {"gaussian": "Gaussian tokens", "unit": "unit-norm tokens"}
DECADES = 20  # from this ratio on, measured and threshold stand on a logarithmic scale


def agreeing(chapter: str | None = None) -> list[dict]:
    """The claims of the book's own store (of a chapter), as `iclbook claims --json` has them.

    Raises InputError where a returned verdict differs from the recorded one.
    """
    rows = report(Store(), chapter)
    for row in rows:
        if row["returned"] != row["verdict"]:
            says = f"the check returns {row['returned']!r}, recorded is {row['verdict']!r}"
            raise InputError(f"{row['id']}: {row['error'] or says}")
    return rows


def anchor(claim_id: str) -> str:
    """The id of a claim's card on its page."""
    return f"claim-{claim_id.replace('/', '-')}"


def command(row: dict) -> str:
    """What computes anew the results that a claim reads, "" where it reads none."""
    return f"iclbook run {' '.join(row['experiments'])} --force" if row["experiments"] else ""


def badge(verdict: str, text: str = "", tag: str = "span", **attributes: str) -> str:
    """A verdict as colour, sign and word (or other text)."""
    extra = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
    return (
        f'<{tag} class="verdict verdict-{verdict.replace(" ", "-")}"{extra}>'
        f'<span aria-hidden="true">{SIGNS[verdict]}</span> {text or verdict}</{tag}>'
    )


def card(row: dict, page: str = "") -> str:
    """Markdown of a claim. With `page`, the address of its chapter, it is an entry of the
    scorecard: its title links there, and what explains it is folded."""
    paper = row["id"].partition("/")[0]
    keys = {"paper": paper} | {key: row[key] for key in ("kind", "source", "verdict")}
    data = " ".join(f'data-{key}="{value}"' for key, value in keys.items())
    item = escape(row["item"][:1].upper() + row["item"][1:])
    if page:
        item = f'<a href="{page}#{anchor(row["id"])}">{item}</a>'
    about = f"{row['kind']}, {WHOSE[row['source']]}"
    explained = f"{_sentence(row['reason'])}\n\n{_readings(row)}{_small_print(row)}"
    fold = ("<details", "<summary>Reason, readings, command</summary>", "</details>")
    start, summary, end = fold if page else ("<div", "", "</div>")
    parts = (
        f'<div class="claim" id="{anchor(row["id"])}" {data}>',
        f'<div class="claim-head">{badge(row["verdict"])} <strong>{item}</strong> '
        f'<span class="claim-kind">{about}</span> <code>{row["id"]}</code></div>',
        _sentence(row["statement"]),
        f'<div class="claim-measure">{_measure(row)}</div>',
        f'{start} class="claim-more">{summary}',
        explained,
        f"{end}</div>",
    )
    return "\n\n".join(parts)


def number(value: float, digits: int = 3) -> str:
    """A number as HTML, with powers of ten and a true minus."""
    mantissa, _, power = f"{value:.{digits}g}".replace("-", "−").partition("e")
    power = power.lstrip("+").replace("−0", "−").lstrip("0")
    times = "" if mantissa == "1" else f"{mantissa}&nbsp;·&nbsp;"
    return f"{times}10<sup>{power}</sup>" if power else mantissa


def telling_digits(measured: float, threshold: float) -> int:
    """How many significant digits tell two numbers apart, at least 3."""
    apart = (n for n in range(3, 13) if f"{measured:.{n}g}" != f"{threshold:.{n}g}")
    return next(apart, 3)


def _sentence(text: str) -> str:
    return f"{text.rstrip('.')}." if text else ""


def _measure(row: dict) -> str:
    """The line that compares the measured number with the threshold, and its bar."""
    measured, threshold = row["measured"], row["threshold"]
    if measured is None:
        return "nothing measured"
    if threshold is None:
        return f"measured <b>{number(measured)}</b>"
    digits = telling_digits(measured, threshold)
    wanted = f"{row['direction'].replace('_', ' ')} {number(threshold, digits)} is wanted"
    text = f"<p>measured <b>{number(measured, digits)}</b>; {wanted}</p>"
    bar, scale = _bar(measured, threshold, row["direction"] == "at_least")
    if (margin := row["margin"]) is not None:
        size = f"{margin:+,.0f} thresholds" if abs(margin) >= 10 else f"{100 * margin:+.0f} %"
        scale = f"margin {size.replace('-', '−')}, {scale}"
    if row["fresh"]:
        sets, share = row["fresh"]["sets"], row["fresh"]["share"]
        scale += f". Of {sets} sets of fresh seeds, {100 * share:.0f} % give the same verdict."
    elif row["kind"] == "empirical":
        scale += ". Not judged on fresh seeds: its experiments took over 1,000 seconds."
    return f'{text}{bar}<p class="claim-kind">{scale}</p>'


def _bar(measured: float, threshold: float, above: bool) -> tuple[str, str]:
    """An SVG with the wanted side, the threshold and the measured number; the name of its
    scale. The line of text beside it says the same, so readers that speak leave it out. The
    attributes are for JupyterLab, which has no style sheet; the site's own is stronger."""
    low, high = sorted((measured, threshold))
    log = low > 0 and high / low >= DECADES
    place = math.log if log else float
    ends = [place(low), place(high)] + [0.0] * (not log)
    span = max(ends) - min(ends) or 1.0

    def at(position: float) -> float:
        return 4 + 192 * (0.1 + 0.8 * (position - min(ends)) / span)

    limit, dot = at(place(threshold)), at(place(measured))
    start, width = (limit, 196 - limit) if above else (4, limit - 4)
    origin = limit if log else at(0.0)
    parts = (
        f'<rect class="wanted" x="{start:.1f}" y="3" width="{width:.1f}" height="12" '
        'opacity="0.22"/>',
        f'<path class="stem" d="M{origin:.1f} 9H{dot:.1f}" stroke="#0173b2" stroke-width="3"/>',
        f'<path class="limit" d="M{limit:.1f} 1V17" stroke="currentColor" stroke-width="2"/>',
        f'<circle cx="{dot:.1f}" cy="9" r="4.5" fill="#0173b2"/>',
    )
    svg = (
        '<svg class="claim-bar" viewBox="0 0 200 18" width="200" height="18" '
        f'aria-hidden="true">{"".join(parts)}</svg>'
    )
    return svg, "log scale" if log else "linear scale"


def _readings(row: dict) -> str:
    if not row["readings"]:
        return ""
    lines = []
    for reading in row["readings"]:
        name = f"{TOKENS[reading['tokens']]}, {reading['loss']} loss"
        found = "" if reading["measured"] is None else f" {number(reading['measured'])}"
        lines.append(f"<li>{badge(reading['verdict'])} {name}:{found}</li>")
    return f'<ul class="claim-readings">{"".join(lines)}</ul>\n\n'


def _small_print(row: dict) -> str:
    """When the threshold was fixed, and what recomputes the results."""
    lines = [escape(row["fixed"])] if row["returned"] != "untestable" else []
    if row["experiments"]:
        lines.append(f"Recompute: <code>{command(row)}</code>")
    return f'<div class="claim-print">{"<br>".join(lines)}</div>' if lines else ""
