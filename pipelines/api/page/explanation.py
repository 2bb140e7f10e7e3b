"""For operators, on a creator's page: from the landed records to the published figure, step by step.

What is sent here holds no figure. The script of explanation.js asks for them with the token that the operator gives it,
and puts them in.
"""

from __future__ import annotations

from pipelines.api.insight import Creator
from pipelines.api.page.layout import text
from pipelines.api.page.translations import Language

# Where a step's figure stands in the answer, its sign, and what it is called in texts.py.
_STEPS = (
    ("records", "", "why_records"),
    ("leftOut.duplicate", "−", "why_duplicate"),
    ("leftOut.superseded", "−", "why_superseded"),
    ("leftOut.deleted", "−", "why_deleted"),
    ("leftOut.erased", "−", "why_erased"),
    ("leftOut.ownView", "−", "why_own_view"),
    ("leftOut.underMinimum", "−", "why_under_minimum"),
    ("leftOut.notYet", "−", "why_not_yet"),
    ("leftOut.outsideWindow", "−", "why_outside_window"),
    ("sessions", "=", "why_sessions"),
    ("viewerDays", "", "why_viewer_days"),
    ("viewersAgain", "−", "why_again"),
    ("viewers", "=", "why_viewers"),
    ("deviceDays", "", "why_device_days"),
    ("devicesAgain", "−", "why_again"),
    ("anonymousViewers", "=", "why_devices"),
)
_COLUMNS = (("sessions", "sessions"), ("viewers", "viewers"), ("newViewers", "why_new"))
_VERDICTS = ("agrees", "banned", "nobody", "differs")


def form(lang: Language, creator: Creator) -> str:
    """The section: a field for the token, and the steps without their figures."""
    problems = " ".join(f'data-{key}="{text(lang(f"why_{key}"))}"' for key in ("unauthorized", "forbidden", "working"))
    asked = f'data-creator="{text(creator.profile.creator_id)}" data-from="{creator.range.first}"'
    return f"""
<section class="why" aria-labelledby="why">
<h2 id="why">{lang("why")}</h2>
<p class="note">{lang("why_note")}</p>
<form class="token" {problems}>
<label for="token">{lang("why_token")}</label>
<div class="field"><input id="token" type="password" autocomplete="off" spellcheck="false" required maxlength="8192">
<button>{lang("why_do")}</button></div>
</form>
<noscript><p class="empty">{lang("why_script")}</p></noscript>
<p class="empty" id="why-said" role="status" hidden></p>
<div data-part="explanation" {asked} data-to="{creator.range.end}" hidden>
<h3 tabindex="-1">{lang.days(creator.range)}</h3>
<table class="data steps">{"".join(_step(lang, *step) for step in _STEPS)}</table>
{"".join(f'<p data-verdict="{verdict}" hidden>{lang(f"why_{verdict}")}</p>' for verdict in _VERDICTS)}
<p data-rejects hidden>{lang("why_rejects")}</p>
<details><summary>{lang("why_days")}</summary>
<div class="scroll" tabindex="0" role="region" aria-label="{lang("why_days")}"><table class="data by-day">
<thead><tr><th scope="col">{lang("day")}</th>{"".join(_head(lang, *column) for column in _COLUMNS)}</tr></thead>
<tbody></tbody>
</table></div></details>
</div>
</section>"""


def _step(lang: Language, at: str, sign: str, called: str) -> str:
    kind = ' class="sum"' if sign == "=" else ""
    label = f'<th scope="row">{lang(called)}</th>'
    return f'<tr data-step="{at}"{kind}><td class="sign">{sign}</td><td class="count"></td>{label}</tr>'


def _head(lang: Language, at: str, called: str) -> str:
    return f'<th scope="col" data-of="{at}">{lang(called)}</th>'
