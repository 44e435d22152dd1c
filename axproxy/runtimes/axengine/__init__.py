"""The pipeline on PyAXEngine: the vendor's Python library computes, layer by layer.

It needs none of the vendor's programs, and is slower than they are.  A process of its own
(`worker`) loads the library, so that a driver that hangs cannot hang the service.  Begin with
`runtime` (what a request needs), then `client` and `wire` (the worker's private socket) and
`launch` (how it is started and stopped).  Nothing outside `worker` imports numpy or axengine.
"""
