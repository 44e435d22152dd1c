"""Models on disk: the folder, the manifest in it, the description that clients get.

Not about what a model's text means (`output`) or how it is loaded (`runtimes`).
Read `folder` first, then `manifest` (`ax650.toml`) and `description`.
"""
