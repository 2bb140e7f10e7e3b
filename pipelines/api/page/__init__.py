"""The page for people: the same answers as /api/v1/creators/, as HTML and SVG that are whole without a script.

    texts.py                                every text, in English and in Turkish
    translations.py                         a language: texts with values put in, numbers and dates
    layout.py                               the frame around every page: head, freshness, language, theme
    ranking.py, creator.py, problem.py      the content of the pages
    explanation.py                          for operators: the steps from landed records to the published figure
    charts.py                               sparklines and charts as plain SVG
    assets.py                               the style sheet and the scripts in assets/, by the hash of their content

Everything is written on the server, so that the first paint is the page and nothing moves afterwards; the script only
makes the next step quicker. There is no build step.
"""
