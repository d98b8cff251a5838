"""A model and audio -> transcripts: the recogniser, long audio, streams, batches of files, named models."""

from asr.recognition.inference import TranscribeOptions as TranscribeOptions
from asr.recognition.recognizer import Recognizer as Recognizer
from asr.recognition.recognizer import load as load
