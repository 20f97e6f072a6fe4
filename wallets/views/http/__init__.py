"""Endpoints independent of the transport: read a request, write an answer."""
