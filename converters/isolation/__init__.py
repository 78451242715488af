"""Run a step in a worker process with time and memory limits, so that a crash is a row and not the end.

The parent and the worker speak JSON lines over two pipes; what frameworks print goes to a log file. A worker is a fresh
interpreter in a session of its own: it dies with its parent (PR_SET_PDEATHSIG), and it is killed with its whole group.
"""

from converters.isolation.answering import error_document, resolve
from converters.isolation.batch import Batch, Outcome, each
from converters.isolation.channel import Channel, Message
from converters.isolation.sandbox import Grants
from converters.isolation.standing import Standing
from converters.isolation.worker import EventHandler, Limits, Worker, run_step, worker_environment

__all__ = [
    "Batch",
    "Channel",
    "EventHandler",
    "Grants",
    "Limits",
    "Message",
    "Outcome",
    "Standing",
    "Worker",
    "each",
    "error_document",
    "resolve",
    "run_step",
    "worker_environment",
]
