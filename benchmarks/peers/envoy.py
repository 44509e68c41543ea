"""Envoy's gRPC-JSON transcoder, reading our own contracts, in front of our own gateway."""

import json
from pathlib import Path
from typing import Any

_SERVICE = "payments.gateway.v1.GatewayService"


def envoy_config(*, port: int, gateway_port: int, contracts: Path) -> str:
    """Return the configuration of one listener on `port`."""
    http2: dict[str, Any] = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
    transcoder = {
        "name": "envoy.filters.http.grpc_json_transcoder",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http"
            ".grpc_json_transcoder.v3.GrpcJsonTranscoder",
            "proto_descriptor": str(contracts),
            "services": [_SERVICE],
            "convert_grpc_status": True,
            "print_options": {"preserve_proto_field_names": False},
        },
    }
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
        },
    }
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network"
        ".http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": "/"}, "route": {"cluster": "gateway", "timeout": "5s"}}
                    ],
                }
            ]
        },
        "http_filters": [transcoder, router],
    }
    return json.dumps(
        {
            "static_resources": {
                "listeners": [
                    {
                        "address": _address(port),
                        "filter_chains": [
                            {
                                "filters": [
                                    {
                                        "name": "envoy.filters.network.http_connection_manager",
                                        "typed_config": manager,
                                    }
                                ]
                            }
                        ],
                    }
                ],
                "clusters": [
                    {
                        "name": "gateway",
                        "type": "STATIC",
                        "typed_extension_protocol_options": http2,
                        "load_assignment": {
                            "cluster_name": "gateway",
                            "endpoints": [
                                {
                                    "lb_endpoints": [
                                        {"endpoint": {"address": _address(gateway_port)}}
                                    ]
                                }
                            ],
                        },
                    }
                ],
            }
        }
    )


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
