"""The page for people: the same answers as /api/v1/creators/, as HTML and SVG that are whole without a script.

    words.py     every text in Turkish and English, and how numbers and dates are written
    layout.py    the frame around every page: head, freshness, switches of language and theme
    ranking.py, creator.py, problem.py      what stands inside it
    charts.py    sparklines and charts as plain SVG
    assets.py    the style sheet and the scripts in assets/, by the hash of their content

Everything is written on the server, so that the first paint is the page and nothing moves afterwards; the script only
makes the next step quicker. There is no build step.
"""
