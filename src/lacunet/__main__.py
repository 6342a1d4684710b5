"""`python -m lacunet` is `lacunet`."""

from lacunet.cli.main import main

main()
