"""The page for people: the same answers as /api/v1/creators/, as HTML and SVG that are whole without a script.

    texts.py                  every text, in English and in Turkish
    translations.py           a language: texts with values put in, numbers and dates
    templates/                the HTML: layout.html around every page, one for each page, parts.html for both
    layout.py                 the context of a page, and its rendering
    ranking.py, creator.py    what the pages show that is no figure of a snapshot
    charts.py                 sparklines and charts as the paths of an SVG
    assets.py                 the style sheet and the scripts in assets/, by the hash of their content

Everything is written on the server, so that the first paint is the page and nothing moves afterwards; the script only
makes the next step quicker. There is no build step.
"""
