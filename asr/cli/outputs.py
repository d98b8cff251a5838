"""What the commands that score write beside their report: files for programs and people, and an exit code for CI."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr.cli.options import FILE, Decorator
from asr.cli.progress import Display
from asr.version import __version__

if TYPE_CHECKING:
    from asr.corpora.manifest import Utterance
    from asr.reports.document import Document
    from asr.reports.scored import Scored

# Those of asr.normalisers, which --help does not wait for.
NORMALISERS = ("none", "upper", "basic", "librispeech", "english")
_OUT = click.Path(dir_okay=False, path_type=Path)

_MEANING = "How both texts are written before they are compared"
equivalents: Decorator = click.option(
    "--equivalents", type=FILE, help="A file of spellings that count as the same: lines 'colour = color'."
)
json_file: Decorator = click.option("--json", "json_file", type=_OUT, help="Write the report as JSON too.")
report_file: Decorator = click.option(
    "--report", "report_file", type=_OUT, help="Write the report as an HTML page too."
)
worst: Decorator = click.option(
    "--worst", type=click.IntRange(min=0), default=5, show_default=True, help="Utterances to show in full."
)


def normaliser(default: str | None, otherwise: str = "") -> Decorator:
    """Return the option --normaliser."""
    told = f"{_MEANING}{otherwise}."
    return click.option("--normaliser", type=click.Choice(NORMALISERS), default=default, show_default=True, help=told)


@dataclass(frozen=True)
class Outputs:
    """What was asked for beside the text; `fail_above` in percent."""

    json_file: Path | None
    report_file: Path | None
    pra: Path | None
    dtl: Path | None
    fail_above: float | None
    worst: int
    audio: bool

    def prepare(self) -> None:
        """Make the folders before the work, so that one that cannot be made costs nothing. Raises UsageError."""
        if self.audio and not self.report_file:
            raise click.UsageError("--audio puts the audio into the page of --report; give that too")
        for path in (self.json_file, self.report_file, self.pra, self.dtl):
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)

    def sounds(self, utterances: Sequence["Utterance"], quiet: bool = False) -> dict[str, str]:
        """Return the audio of utterances by id as data URIs, if it was asked for. Raises AudioError."""
        from asr.reports.page.sound import data_uri

        found: dict[str, str] = {}
        with Display(quiet) as display:
            for one in utterances if self.audio else ():
                found[one.id] = data_uri(one.audio, one.offset, one.duration)
                display.update("audio", len(found), len(utterances), "utterances")
        return found

    def write(
        self,
        result: "Scored",
        given: "Document",
        title: str,
        seconds: float | None = None,
        sounds: Mapping[str, str] | None = None,
    ) -> int:
        """Write the files that were asked for; return the exit code.

        `given`: the facts; `seconds`: how long recognition took; `sounds`: ids to data URIs.
        """
        from asr import reports as report
        from asr.files import write_text
        from asr.reports import page, sclite
        from asr.reports.document import evaluation

        document = evaluation(result, given, seconds) if self.json_file or self.report_file else {}
        if self.json_file:
            report.write_json(self.json_file, document)
        if self.report_file:
            page.write(self.report_file, document, sounds or {})
            if sounds:
                megabytes = self.report_file.stat().st_size / 1e6
                click.echo(f"{self.report_file}: {megabytes:.1f} MB with the audio", err=True)
        if self.pra:
            write_text(self.pra, sclite.pra(result.score))
        if self.dtl:
            write_text(self.dtl, sclite.dtl(result.score, title))
        wer = 100 * result.score.wer.value
        if self.fail_above is not None and wer > self.fail_above:
            click.echo(f"asr: WER {wer:.2f} % is above {self.fail_above:g} %", err=True)
            return 1
        return 0


def outputs(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of Outputs, and the parameter `outputs` in their place."""

    @json_file
    @report_file
    @click.option("--pra", type=_OUT, help="Write the alignments as sclite does.")
    @click.option("--dtl", type=_OUT, help="Write counts and lists of errors as sclite does.")
    @click.option(
        "--fail-above", type=click.FloatRange(min=0), metavar="PERCENT", help="Exit with 1 if the WER is above this."
    )
    @worst
    @click.option("--audio", is_flag=True, help="Put the audio into the page of --report, to listen to utterances.")
    @wraps(command)
    def gathered(**given: Any) -> Any:
        names = ("json_file", "report_file", "pra", "dtl", "fail_above", "worst", "audio")
        chosen = Outputs(**{name: given.pop(name) for name in names})
        chosen.prepare()
        return command(**given, outputs=chosen)

    return gathered


def facts(**named: object) -> "Document":
    """Return the facts of a report: what was given, those that were not left out, and when and by which version."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {name: str(value) for name, value in named.items() if value is not None} | {"date": now, "asr": __version__}
