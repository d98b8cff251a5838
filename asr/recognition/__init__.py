"""A model and audio -> transcripts: the recogniser, long audio, streams, batches of files, named models."""

from asr.recognition.recognizer import Read as Read
from asr.recognition.recognizer import Recognizer as Recognizer
from asr.recognition.recognizer import load as load
from asr.recognition.recognizer import of_channels as of_channels
