"""Open a session, and tell whether one is valid (contract, section 2, auth)."""

from snapengine import units
from snapengine.inventory import Struct
from snapengine.rest import authority, bodies, faults
from snapengine.rest.answers import Reply
from snapengine.rest.authority import Accounts
from snapengine.rest.faults import Malformed
from snapengine.rest.logins import Crowded, Doorman
from snapengine.rest.sessions import Sessions


class Session(Struct, frozen=True, kw_only=True):
    """A session's inventory; there are no users within an account, so the user is the account."""

    uuid: str
    account_uuid: str
    user_uuid: str
    create_date: str
    expired_date: str


async def log_in(body: bodies.LogIn, accounts: Accounts, sessions: Sessions, doorman: Doorman) -> Reply:
    """Open a session; WrongLogin, TooManySessions; Malformed (429) while too many attempts wait."""
    account = accounts.named(body.account_name)
    try:
        right = await doorman.lets_in(body.account_name, account, body.password.lower())
    except Crowded as e:
        raise Malformed(429, "too many logins at once; try again in a few seconds") from e
    if not right or account is None:
        raise faults.WrongLogin()
    opened = sessions.open(account)
    return {
        "inventory": Session(
            uuid=opened.uuid,
            account_uuid=account.uuid,
            user_uuid=account.uuid,
            create_date=units.format_date(opened.created),
            expired_date=units.format_date(opened.ends),
        )
    }


def is_valid(session: str, accounts: Accounts, sessions: Sessions) -> Reply:
    """Tell whether a session has not ended."""
    return {"valid": authority.by_session(session, accounts, sessions) is not None}
