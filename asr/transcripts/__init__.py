"""Transcripts: their records, and reading and writing them as files."""

from asr.transcripts.formats import INPUT_FORMATS as INPUT_FORMATS
from asr.transcripts.formats import MULTI_RECORDING_FORMATS as MULTI_RECORDING_FORMATS
from asr.transcripts.formats import OUTPUT_FORMATS as OUTPUT_FORMATS
from asr.transcripts.formats import Choice as Choice
from asr.transcripts.formats import TranscriptFile as TranscriptFile
from asr.transcripts.formats import document as document
from asr.transcripts.formats import documents_by_suffix as documents_by_suffix
from asr.transcripts.formats import file_suffixes as file_suffixes
from asr.transcripts.formats import read as read
from asr.transcripts.formats import read_hypotheses as read_hypotheses
from asr.transcripts.json_lines import word_fields as word_fields
from asr.transcripts.rows import TranscriptError as TranscriptError
