"""``pomona report``: the page, or two runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pomona.cli import options as o

if TYPE_CHECKING:
    from pomona.settings import Settings
    from pomona.storage import Location

Open = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]
Compare = Annotated[
    str | None,
    typer.Option(
        "--compare",
        metavar="OTHER_OUTPUT",
        help="Put the runs of OTHER_OUTPUT and OUTPUT side by side instead.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(write_page)


@o.takes(o.STORAGE)
def write_page(
    output: o.Output,
    compare: Compare = None,
    open_it: Open = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    **flags: Any,
) -> None:
    """Write the report of OUTPUT again, with pictures from INPUT where it still is."""
    from pomona.cli.chain import run_steps
    from pomona.cli.terminal import reporting

    if compare is None:
        run_steps(
            ("report",),
            None,
            output,
            as_json=as_json,
            quiet=quiet,
            verbose=verbose,
            **flags,
        )
        page = None
    else:
        page = _compare(compare, output, as_json=as_json, quiet=quiet, verbose=verbose, **flags)
    if open_it:
        with reporting(verbose=verbose):
            _open(page or _location(output, **flags).join("report.html"), quiet=quiet)


def _compare(
    other: str, output: str, *, as_json: bool, quiet: bool, verbose: bool, **flags: Any
) -> Location:
    from pomona.cli.terminal import print_json, reporting, result
    from pomona.errors import UsageError

    with reporting(verbose=verbose):
        from pomona.report.comparison import summary
        from pomona.steps.report import compare

        before, after = (_location(text, **flags) for text in (other, output))
        if before == after:
            raise UsageError(
                f"OUTPUT and OTHER_OUTPUT are the same folder: {after}", "Name two runs' folders."
            )
        page, facts = compare(before, after)
        if as_json:
            print_json(facts)
        elif not quiet:
            for line in summary(facts):
                result(line)
            result(f"comparison: {page}")
    return page


def _location(text: str, **flags: Any) -> Location:
    from pomona.settings import load_settings
    from pomona.storage import Location

    settings: Settings = load_settings(**flags)
    return Location.parse(text, settings.storage)


def _open(page: Location, *, quiet: bool) -> None:
    """Show a page in the browser; one in a bucket as a copy on this machine.

    Raises:
        PomonaError: it cannot be read, or there is no browser.
    """
    import tempfile
    import webbrowser
    from pathlib import Path

    from pomona.cli.terminal import say
    from pomona.errors import PomonaError
    from pomona.storage import NotFound, NotPermitted, ReadFailed, open_store

    file = Path(page.path)
    if page.scheme != "file":
        try:
            data = open_store(page.parent).read(page.name)
        except (NotFound, NotPermitted, ReadFailed) as error:
            raise PomonaError(
                f"Cannot read {page}: {error}.", "Check your rights to read in OUTPUT."
            ) from error
        # Not removed: the browser reads it after this command has ended.
        file = Path(tempfile.mkdtemp(prefix="pomona-report-")) / page.name
        file.write_bytes(data)
        if not quiet:
            say(f"a copy of {page} is in {file}")
    if not webbrowser.open(file.as_uri()):
        raise PomonaError(
            f"No browser was found to open {file}.", "Open it yourself, or set BROWSER."
        )
