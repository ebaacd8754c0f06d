"""OFREP: the published provider against the gateway, and what the protocol says beside."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest
from brain.experiments.v1 import experiments_pb2 as pb
from openfeature.api import add_hooks, clear_hooks
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider import AbstractProvider, ProviderStatus

from tests.gateway.conftest import Gateway
from tests.services.experiments.conftest import Service as ExperimentsService

__all__ = ["AbstractProvider", "Callable", "ExitStack", "Iterator", "OpenFeatureClient", "ProviderStatus",
           "add_hooks", "clear_hooks", "json"]  # fmt: skip
