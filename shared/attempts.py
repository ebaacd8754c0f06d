"""What a server knows of attempts that came before: gRPC's clients say so when they send a call again."""

import grpc

_ATTEMPTS = "grpc-previous-rpc-attempts"


def is_retry(context: grpc.ServicerContext) -> bool:
    """Tell whether an earlier attempt of this call may have done already what it asks for.

    Its answer was lost then, and what its caller wants to hear is how things stand now, not that they cannot
    be done twice.
    """
    return any(key == _ATTEMPTS for key, _ in context.invocation_metadata() or ())
