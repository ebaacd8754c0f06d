"""Asks flags through the published OpenFeature SDK and flagd provider, as an application would.

A process of its own: the provider brings stubs of its own of the contract that this repository serves.
Reads commands from standard input, a JSON array each, and writes an answer to each as JSON.
"""

import json
import sys
from dataclasses import asdict

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent

changed: list[str] = []


def tell(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main(port: int) -> None:
    api.add_handler(
        ProviderEvent.PROVIDER_CONFIGURATION_CHANGED,
        lambda details: changed.extend(details.flags_changed or []),
    )
    api.set_provider(FlagdProvider(host="127.0.0.1", port=port, tls=False))
    client = api.get_client()
    tell("ready")
    for line in sys.stdin:
        kind, key, default, name, attributes = json.loads(line)
        if kind == "changed":
            tell(changed)
            continue
        context = EvaluationContext(targeting_key=name, attributes=attributes)
        details = getattr(client, f"get_{kind}_details")(key, default, context)
        told = asdict(details)
        tell({name: told[name] for name in ("value", "variant", "reason", "error_code")})
    api.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
