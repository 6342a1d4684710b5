"""`python -m lacunet` is `lacunet`."""

from lacunet.cli import main

main()
