"""The page `/ui`: static files and one stream of the state.

All that the page does goes through Ollama's routes and those for operators; nothing is here that a
client could not do.  `routes` serves the files, `static/` has them: `page.js` first.
"""
