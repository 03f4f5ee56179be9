"""snapengine account: who owns volumes."""

import click

from snapengine.cli import session, settings, show

_COLUMNS = ("name", "uuid", "create_date")


@click.group(cls=settings.Noun)
def account() -> None:
    """Create and list accounts, the owners of volumes."""


@account.command()
@click.argument("name", help="What to call it: 1 to 64 letters, digits, '.', '_' or '-'.")
def create(name: str) -> None:
    """Create an account."""
    show.one(session.engine().create_account(name))


@account.command("list")
def list_() -> None:
    """List all accounts, by name."""
    show.many(session.engine().list_accounts(), _COLUMNS)
