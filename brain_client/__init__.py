"""The Python client of Analytics Brain."""

from brain_client.buffer import Delivery
from brain_client.client import Brain, Statistics
from brain_client.errors import explain
from shared.clients import Tls

__all__ = ["Brain", "Delivery", "Statistics", "Tls", "explain"]
