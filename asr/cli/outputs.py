"""The outputs of the commands that score: the report on stdout, files, and an exit code for CI."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from asr.cli.options import FILE, OUTPUT, Decorator, FloatRange, check_outputs, is_stdout
from asr.cli.progress import Display
from asr.version import __version__

if TYPE_CHECKING:
    from asr.corpora.manifest import Utterance
    from asr.reports.document import Document, ScoredPairs

# asr.text.NORMALISERS, repeated so that --help need not import them.
NORMALISERS = ("none", "upper", "basic", "librispeech", "english")

equivalents: Decorator = click.option(
    "--equivalents", type=FILE, help="A file of spellings that count as equal, with lines such as 'colour = color'."
)
json_file: Decorator = click.option("--json", "json_file", type=OUTPUT, help="Also write the report as JSON.")
report_file: Decorator = click.option(
    "--report", "report_file", type=OUTPUT, help="Also write the report as an HTML page."
)


def worst(condition: str = "") -> Decorator:
    """Return the option --worst; `condition` is added to its help."""
    return click.option(
        "--worst",
        type=click.IntRange(min=0),
        metavar="N",
        default=5,
        show_default=True,
        help=f"Number of utterances to print{condition}.",
    )


def normaliser(default: str | None, note: str = "") -> Decorator:
    """Return the option --normaliser; `note` is added to its help."""
    return click.option(
        "--normaliser",
        type=click.Choice(NORMALISERS),
        default=default,
        show_default=True,
        help=f"Normaliser of references and hypotheses.{note}",
    )


@dataclass(frozen=True)
class Outputs:
    """The options of the outputs; `fail_above` in percent."""

    json_file: Path | None
    report_file: Path | None
    pra: Path | None
    dtl: Path | None
    fail_above: float | None
    show: Literal["worst", "all", "none"]
    worst: int
    verbose: bool
    audio: bool

    def prepare(self) -> None:
        """Create the folders before the work, so that a failure wastes none. Raises UsageError."""
        if self.audio and not self.report_file:
            raise click.UsageError("--audio puts the audio into the page of --report; give --report too")
        self.check()
        for path in self._files:
            if not is_stdout(path):
                path.parent.mkdir(parents=True, exist_ok=True)

    def check(self, read: Iterable[str] = ()) -> None:
        """Raise UsageError if a file of `read`, or one that the command reads, would be written over."""
        check_outputs(*self._files, read=read)

    @property
    def _files(self) -> list[Path]:
        return [path for path in (self.json_file, self.report_file, self.pra, self.dtl) if path]

    @property
    def _to_stdout(self) -> bool:
        return any(map(is_stdout, self._files))

    def print_report(
        self,
        result: "ScoredPairs",
        facts: "Document",
        notes: Mapping[str, str],
        default_normaliser: str = "none",
    ) -> None:
        """Print the report; `facts` are the settings that --verbose shows, `notes` are always shown."""
        from asr.reports import text

        options = text.TextOptions(self.show, self.worst, self.verbose, terminal_width())
        settings = {name: value for name, value in facts.items() if name not in text.HIDDEN_FACTS}
        # Not between the lines of a file that is written to the standard output.
        click.echo(text.evaluation(result, settings, notes, options, default_normaliser), err=self._to_stdout)

    def encode_audio(self, utterances: Sequence["Utterance"], quiet: bool = False) -> dict[str, str]:
        """Return the audio of utterances by id as data URIs; nothing without --audio. Raises AudioError."""
        from asr.reports.page import sound

        encoded: dict[str, str] = {}
        with Display(quiet) as display:
            for utterance in utterances if self.audio else ():
                encoded[utterance.id] = sound(utterance.audio, utterance.offset, utterance.duration)
                display.update("audio", len(encoded), len(utterances), "utterances")
        return encoded

    def write(
        self,
        result: "ScoredPairs",
        facts: "Document",
        title: str,
        seconds: float | None = None,
        audio: Mapping[str, str] | None = None,
    ) -> int:
        """Write the files and return the exit code; `seconds` of recognition, `audio` from `encode_audio`."""
        from asr.files import write_text
        from asr.reports import document, page, sclite

        body = document.evaluation(result, facts, seconds) if self.json_file or self.report_file else {}
        if self.json_file:
            document.write(self.json_file, body)
        if self.report_file:
            write_text(self.report_file, page.evaluation(body, audio))
            size = f" ({self.report_file.stat().st_size / 1e6:.1f} MB with the audio)" if audio else ""
            click.echo(f"\nReport: {self.report_file}{size}", err=self._to_stdout)
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
    """Add the options of Outputs to a command, which takes them as its parameter `outputs`."""

    @json_file
    @report_file
    @click.option("--pra", type=OUTPUT, help="Write alignments in sclite's pra format.")
    @click.option("--dtl", type=OUTPUT, help="Write counts and error lists in sclite's dtl format.")
    @click.option(
        "--fail-above",
        type=FloatRange(min=0),
        metavar="PERCENT",
        help="Exit with code 1 if the WER is above PERCENT.",
    )
    @click.option(
        "--show",
        type=click.Choice(["worst", "all", "none"]),
        default="worst",
        show_default=True,
        help="Which utterances to print: those with the most errors (see --worst), all, or none.",
    )
    @worst(" with --show worst")
    @click.option(
        "--verbose",
        "-v",
        is_flag=True,
        help="Also print the settings, speakers, frequent errors, and the WER without normalisation.",
    )
    @click.option("--audio", is_flag=True, help="Embed the audio in the --report page.")
    @wraps(command)
    def with_outputs(**arguments: Any) -> Any:
        outputs = Outputs(**{field.name: arguments.pop(field.name) for field in fields(Outputs)})
        outputs.prepare()
        return command(**arguments, outputs=outputs)

    return with_outputs


def terminal_width() -> int:
    """Return the columns of the terminal, 100 if stdout is not a terminal."""
    return shutil.get_terminal_size((100, 24)).columns


def facts(**settings: object) -> "Document":
    """Return the facts of a report: the settings that are not None, the date and the version of asr."""
    values = {name: str(value) for name, value in settings.items() if value is not None}
    return values | {"date": datetime.now(UTC).isoformat(timespec="seconds"), "asr": __version__}
