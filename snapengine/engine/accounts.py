"""The engine's verbs on accounts."""

from snapengine import accounts, credentials, translation
from snapengine.credentials import KeyOwner
from snapengine.engine.opened import Opened
from snapengine.owners import AccessKey, Account


@translation.translating
class Accounts(Opened):
    """Who owns volumes, and by what the server knows them."""

    def create_account(self, name: str) -> Account:
        """Add an account; Conflict when one has this name."""
        return accounts.create(self._store, name, self.wait)

    def get_account(self, name: str) -> Account:
        """Return the account with this name or uuid."""
        return accounts.show(self._store, name)

    def set_quota(self, account: str, number: int) -> Account:
        """Set how many snapshots an account, named by name or uuid, may have; returns it."""
        return accounts.set_quota(self._store, account, number, self.wait)

    def list_accounts(self) -> tuple[Account, ...]:
        """Return all accounts, by name."""
        return accounts.list_all(self._store)

    def set_password(self, account: str, password: str) -> None:
        """Give an account, named by name or uuid, a password; see credentials.set_password."""
        credentials.set_password(self._store, account, password, self.wait)

    def first_password(self, given: str | None = None) -> str | None:
        """Give admin a password, a random one unless one is given, if it has none; returns what it got."""
        return credentials.first_password(self._store, given, self.wait)

    def create_access_key(self, account: str) -> AccessKey:
        """Make an access key for an account; its secret is shown only now."""
        return credentials.create_key(self._store, account, self.wait)

    def list_access_keys(self) -> tuple[KeyOwner, ...]:
        """Return all access keys, without their secrets."""
        return credentials.list_keys(self._store)

    def delete_access_key(self, uuid: str) -> None:
        """Remove an access key; NotFound without one."""
        credentials.delete_key(self._store, uuid, self.wait)
