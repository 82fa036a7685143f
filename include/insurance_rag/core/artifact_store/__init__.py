"""Artifacts in object stores: `s3://bucket/key` and `gs://bucket/key` next to local paths.

The stages read and write local files. `locations` maps a URI to a place in a scratch folder, the mirror, and back.
`mirror` copies what has changed between the mirror and the object store; `workspace` does so around a task or command.
`segments` keeps append-only files in the store, and `leases` are locks between machines. `bucket` is the only module
that knows the client library. For local paths, nothing but `locations` and `workspace` is imported.
"""
