"""The suites of `make bench`, one a file. Each has

TITLE                       heads its part of the report
ABOUT                       what is measured, and how
entries(world, seconds)     the competitors in each case (measure.Entry), ready to run
ROUNDS                      how often each of them runs
SCALE                       pgbench's, if 4 will not do
BASE                        whom ratios are to; without it, PgBouncer
finish(world)               checks what the runs left behind, if there is something to check
remarks()                   lines below the table, if there are any

or, where there is nothing to run for some seconds,

measure_suite(world)        what was found, for
lines(found)                the table's lines
draw(axes, found)           its picture, if there is one
"""
