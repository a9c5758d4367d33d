"""The page: one HTML file that makes no request, and in which no text of a run ever becomes markup.

All text goes through Jinja's escaping. The data of the charts lies in a JSON block that no browser runs. The policy in
the page's head allows the two scripts of this file, by their digests, and no connection at all.
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

from cebctl.render.state_styles import STATE_STYLES
from cebctl.report import number_format
from cebctl.report.cells import Report
from cebctl.report.claims.view import method_notes
from cebctl.report.figures import style, vega
from cebctl.report.figures.marks import Figure
from cebctl.report.page.claims import claim_cells
from cebctl.report.page.runs import page_run
from cebctl.report.page.tables import page_tables
from cebctl.status.run_details import RunDetails
from cebctl.status.staleness import Versions
from cebctl.status.states import count_states
from cebctl.text_output import visible, visible_strings
from store.row_types import ResultRow

if TYPE_CHECKING:
    from markupsafe import Markup

FOLDER = Path(__file__).parent


def render_page(
    report: Report,
    figures: Sequence[Figure],
    run_details: Sequence[RunDetails],
    results: Iterable[ResultRow],
    versions: Versions,
) -> str:
    """Return the HTML of the page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    results_of_run: dict[str, list[ResultRow]] = defaultdict(list)
    for row in results:
        results_of_run[row.run_id].append(row)
    off_target = {run_id for table in report.tables for row in table.rows for run_id in row.last_rho}
    runs = [
        page_run(
            details,
            results_of_run[run_id],
            report.verdicts.get(run_id, {}),
            versions,
            number_format.OFF_TARGET * (run_id in off_target),
        )
        for details in run_details
        for run_id in (details.status.planned.run_id,)
    ]
    scripts = [_library(), (FOLDER / "page.js").read_text("utf-8")]
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        finalize=_visible_value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        report=report,
        tables=page_tables(report),
        claims=report.claims,
        claim_figures=[figure for figure in figures if figure.forest],
        claim_notes=method_notes(report.claims) if report.claims else (),
        claim_cells=claim_cells(report.claims),
        figures=[figure for figure in figures if not figure.forest],
        runs=runs,
        counts=count_states([details.status for details in run_details]),
        state_styles=STATE_STYLES,
        selected=report.selected,
        notes=report.notes,
        gaps=number_format.missing_lines(report),
        newest=_newest(row.measured_at for rows in results_of_run.values() for row in rows),
        policy=_policy(scripts),
        css=Markup((FOLDER / "page.css").read_text("utf-8") + _state_colours()),
        data=script_json(
            {
                "figures": {figure.name: vega.chart(figure, for_page=True) for figure in figures},
                "curve": vega.CURVE,
                "on_dark": style.ON_DARK,
            }
        ),
        library=Markup(scripts[0]),
        script=Markup(scripts[1]),
    )


def _visible_value(value: Any) -> Any:
    """Return a value of the template as text that hides nothing; our own scripts and styles stay as they are."""
    return visible(value) if type(value) is str else value


def script_json(value: Any) -> Markup:
    """Return JSON that can stand in a script element: it has no sign that HTML reads."""
    from markupsafe import Markup

    text = json.dumps(visible_strings(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


@cache
def _library() -> str:
    """Return Vega, Vega-Lite and Vega-Embed, from their package."""
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
    light = "".join(f"--state-{state}: {colours.light};" for state, colours in STATE_STYLES.items())
    dark = "".join(f"--state-{state}: {colours.dark};" for state, colours in STATE_STYLES.items())
    rules = "".join(f".state-{state} {{ color: var(--state-{state}); }}\n" for state in STATE_STYLES)
    return f'\n:root {{ {light} }}\n:root[data-theme="dark"] {{ {dark} }}\n{rules}'


def _newest(times: Iterable[float]) -> str:
    newest = max(times, default=None)
    return "not there yet" if newest is None else time.strftime("of %Y-%m-%d %H:%M", time.localtime(newest))
