"""The page for people: the same answers as /api/v1/creators/, as HTML and SVG that are whole without a script.

    texts.py     every text, in English and in Turkish
    translations.py     a language: its texts with values put in, and how it writes numbers and dates
    layout.py    the frame around every page: head, freshness, switches of language and theme
    ranking.py, creator.py, problem.py      what stands inside it
    explanation.py                          for operators: the steps from landed records to the published figure
    charts.py    sparklines and charts as plain SVG
    assets.py    the style sheet and the scripts in assets/, by the hash of their content

Everything is written on the server, so that the first paint is the page and nothing moves afterwards; the script only
makes the next step quicker. There is no build step.
"""
