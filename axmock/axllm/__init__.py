"""The vendor's `axllm serve`, simulated: its command line, output, HTTP replies and habits.

Begin with `options`, then `program` (its life), `chat` and `replies` (its HTTP dialect), `model`
(runs, which mix their texts when there are two).  What it imitates was read in AXERA-TECH/ax-llm
and observed on its HTTP library with a stub in place of the model.
"""
