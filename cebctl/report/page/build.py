"""The page: one HTML file that makes no request, and in which nothing that a run wrote is ever markup.

All text goes through Jinja's escaping; data for the charts lies in a JSON block that no browser runs; the policy in the
page's head allows the two scripts written here, by their digests, and no connection at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cebctl.render.state_styles import LOOKS
from cebctl.report import number_format
from cebctl.report.cells import Report
from cebctl.report.figures import style, vega
from cebctl.report.figures.marks import Figure
from cebctl.report.page.runs import page_run
from cebctl.report.page.tables import page_tables
from cebctl.status.run_details import RunDetails
from cebctl.status.staleness import Versions
from cebctl.status.states import count_states
from store.row_types import ResultRow

if TYPE_CHECKING:
    from markupsafe import Markup

FOLDER = Path(__file__).parent


def render_page(
    report: Report,
    figures: Sequence[Figure],
    evidence: Sequence[RunDetails],
    results: Iterable[ResultRow],
    versions: Versions,
) -> str:
    """The whole file."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    mine: dict[str, list[ResultRow]] = defaultdict(list)
    for row in results:
        mine[row.run_id].append(row)
    off_target = {run_id for table in report.tables for row in table.rows for run_id in row.last_rho}
    runs = [
        page_run(
            one,
            mine[run_id],
            report.verdicts.get(run_id, {}),
            versions,
            number_format.OFF_TARGET * (run_id in off_target),
        )
        for one in evidence
        for run_id in (one.status.planned.run_id,)
    ]
    scripts = [_library(), (FOLDER / "page.js").read_text("utf-8")]
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        report=report,
        tables=page_tables(report),
        figures=figures,
        runs=runs,
        counts=count_states([one.status for one in evidence]),
        looks=LOOKS,
        selected=report.selected,
        notes=report.notes,
        gaps=number_format.missing_lines(report),
        newest=_newest(row.measured_at for rows in mine.values() for row in rows),
        policy=_policy(scripts),
        css=Markup((FOLDER / "page.css").read_text("utf-8") + _state_colours()),
        data=script_json(_data(figures)),
        library=Markup(scripts[0]),
        script=Markup(scripts[1]),
    )


def script_json(value: Any) -> Markup:
    """JSON that can stand in a script element: no sign that HTML reads is left in it."""
    from markupsafe import Markup

    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _data(figures: Sequence[Figure]) -> dict[str, Any]:
    charts = {figure.name: vega.chart(figure, for_page=True) for figure in figures}
    return {"figures": charts, "curve": vega.CURVE, "on_dark": style.ON_DARK}


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed, from their package."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    if "</script" in bundle.lower() or "<!--" in bundle:
        raise ValueError("the charts' library can't stand in a script element")
    return bundle


def _policy(scripts: Sequence[str]) -> str:
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    # Charts set styles of their own elements.
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def _state_colours() -> str:
    light = "".join(f"--state-{state}: {look.light};" for state, look in LOOKS.items())
    dark = "".join(f"--state-{state}: {look.dark};" for state, look in LOOKS.items())
    rules = "".join(f".state-{state} {{ color: var(--state-{state}); }}\n" for state in LOOKS)
    return f'\n:root {{ {light} }}\n:root[data-theme="dark"] {{ {dark} }}\n{rules}'


def _newest(times: Iterable[float]) -> str:
    newest = max(times, default=None)
    return "not there yet" if newest is None else time.strftime("of %Y-%m-%d %H:%M", time.localtime(newest))
