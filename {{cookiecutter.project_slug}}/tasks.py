"""What `inv` offers in this repository. Yours: add your own tasks and namespaces here."""

from ops.tasks import namespace

ns = namespace()
