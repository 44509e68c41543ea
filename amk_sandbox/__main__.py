"""`python -m amk_sandbox`."""

from amk_sandbox.service import main

main()
