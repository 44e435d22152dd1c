"""The models that there are: the catalogue, a model as a value, and its folder on disk.

Not about what a model's text means (`output`) or how it is loaded (`runtimes`).  Read `model` and
`catalog` first; `description` makes a `Model` from the folder (`folder`) and its manifest
(`manifest`, the file `ax650.toml`).  `names` has the rules of the names that clients use.
"""
