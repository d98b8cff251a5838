"""The HTTP service: an OpenAI-compatible transcription API and a web page."""

from asr.server.app import ServerSettings as ServerSettings
from asr.server.app import create_app as create_app
from asr.server.running import make_server as make_server
from asr.server.running import open_socket as open_socket
