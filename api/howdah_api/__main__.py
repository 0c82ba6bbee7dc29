"""`python -m howdah_api`: the same program as the `howdah` command."""

from howdah_api.cli import PROGRAM, main

main(prog_name=PROGRAM)
