"""snapengine access-key: by what machines sign their requests to the server."""

import click

from snapengine.cli import complete, session, settings, show

_COLUMNS = ("uuid", "account_name", "create_date")


@click.group("access-key", cls=settings.Noun)
def access_key() -> None:
    """Create, list and delete the keys by which machines sign their requests to the server."""


@access_key.command()
@click.argument("account", help="The account: its name or uuid.", shell_complete=complete.accounts)
def create(account: str) -> None:
    """
    Create an access key, and show its secret: only now.

    \b
    snapengine access-key create admin
    """
    show.one(session.engine().create_access_key(account))


@access_key.command("list")
def list_() -> None:
    """List the access keys of all accounts."""
    show.many(session.engine().list_access_keys(), _COLUMNS)


@access_key.command()
@click.argument("uuid", help="The key.")
def delete(uuid: str) -> None:
    """Delete an access key: what it signs is refused from now on."""
    session.engine().delete_access_key(uuid)
    show.nothing()
