"""What `inv` offers in this repository. Yours: add your own tasks and namespaces here."""

from slipway.tasks import namespace

ns = namespace()
