"""`python -m howdah_api`: the same program as the `howdah` command."""

from howdah_api.cli import main

main()
