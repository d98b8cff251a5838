"""Models as ONNX files, for other languages, servers and browsers."""

from asr.export.file import ExportError as ExportError
from asr.export.file import ExportOptions as ExportOptions
from asr.export.file import inspect as inspect
from asr.export.file import write as write
