"""snapengine account: who owns volumes."""

import click

from snapengine.cli import complete, session, settings, show

_COLUMNS = ("name", "uuid", "snapshot_quota", "create_date")


@click.group(cls=settings.Noun)
def account() -> None:
    """Create and list accounts, the owners of volumes."""


@account.command()
@click.argument("name", help="What to call it: 1 to 64 letters, digits, '.', '_' or '-'.")
def create(name: str) -> None:
    """
    Create an account.

    It logs in to the server once 'snapengine account passwd' has given it a password, or signs with an access key.
    """
    show.one(session.engine().create_account(name))


@account.command("list")
def list_() -> None:
    """List all accounts, by name."""
    show.many(session.engine().list_accounts(), _COLUMNS)


@account.command()
@click.argument("name", help="The account: its name or uuid.", shell_complete=complete.accounts)
def passwd(name: str) -> None:
    """
    Set the password by which an account logs in to the server.

    It has 8 to 255 characters, and is asked for twice on a terminal; else it is the first line of the standard input.
    Sessions that were opened with the old one end.

    \b
    snapengine account passwd admin
    """
    engine = session.engine()
    known = engine.get_account(name)
    engine.set_password(known.uuid, session.password(f"new password of {known.name}"))
    show.nothing()


@account.command()
@click.argument("name", help="The account: its name or uuid.", shell_complete=complete.accounts)
@click.argument("number", type=int, required=False, metavar="[N]", help="How many snapshots it may have, from now on.")
def quota(name: str, number: int | None) -> None:
    """
    Print or set an account's quota.

    It says how many snapshots all volumes of the account may have together, 200 where none was set. Those of deleted
    volumes count until they are expunged. What is there stays, whatever the quota. The account admin has none.

    \b
    snapengine account quota web 500
    """
    engine = session.engine()
    found = engine.get_account(name) if number is None else engine.set_quota(name, number)
    show.number("snapshotQuota", found.snapshot_quota)
