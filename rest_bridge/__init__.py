"""The public face: REST in, gRPC out, both read from the contracts."""
