"""`python -m rest_bridge`: the bridge alone, on the environment."""

import asyncio
import os
import sys

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # we never fork; its handlers cost
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's core writes past every log of ours

import uvloop

from chassis.rules import ContractFault
from chassis.settings import SettingError, own_variables
from chassis.telemetry import complain, configure_logging
from rest_bridge.contract import load_contract, read_image
from rest_bridge.service import serve
from rest_bridge.settings import plain_http_places, read_client, read_settings, read_targets

_WRONG_SETTING = 2


def main() -> int:
    """Run the bridge and return the exit code; 2 with one line if it cannot start."""
    configure_logging(service="bridge", level="INFO")  # until the settings say which
    try:
        variables = own_variables()
        settings = read_settings(variables=variables)
        contract = load_contract(image=read_image(path=settings.contracts_file))
        targets = read_targets(
            variables=variables, names=sorted({one.target for one in contract.methods})
        )
        client = read_client(variables=variables, targets=targets, environment=settings.environment)
        configure_logging(service="bridge", level=settings.log_level)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(
                serve(
                    contract=contract,
                    targets=targets,
                    settings=settings,
                    client_tls=client,
                    plain=plain_http_places(settings=settings),
                )
            )
    except (SettingError, ContractFault, OSError) as problem:
        complain(service="rest_bridge", problem=problem)
        return _WRONG_SETTING
    return 0


if __name__ == "__main__":
    sys.exit(main())
