"""What Taskyard costs, beside what users would pick instead, on the same work in the same run: ``python -m bench --help``.

A *measure* is a list of *points*; each point is one function call in a fresh process (`bench.fresh`), so that nothing that ran
before can weigh on it. A round runs every point once, and rounds follow each other (`bench.runner`), so that a machine that is
slower for a while is so for all. The figures of each round go into a JSON file, from which the page is made (`bench.page`).
"""
