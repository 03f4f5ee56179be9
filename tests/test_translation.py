"""What the operating system says becomes an error of the engine, where it means one."""

import errno

import pytest

from snapengine import errors, translation


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, errors.NoSpace),
        (errno.EDQUOT, errors.NoSpace),
        (errno.EACCES, errors.Denied),
        (errno.EPERM, errors.Denied),
        (errno.EROFS, errors.Denied),
        (errno.ENOTDIR, errors.Invalid),
        (errno.ENAMETOOLONG, errors.Invalid),
        (errno.ELOOP, errors.Invalid),
        (errno.EFBIG, errors.NoSpace),
        (errno.EIO, errors.Denied),
    ],
    ids=errno.errorcode.get,
)
def test_what_the_system_refuses_becomes_an_error_that_names_the_file(number: int, kind: type[errors.Error]) -> None:
    with pytest.raises(kind, match="/srv/x/file") as caught, translation.translated():
        raise OSError(number, "whatever the locale says", "/srv/x/file")
    assert isinstance(caught.value.__cause__, OSError)


def test_an_error_of_the_system_without_a_file_has_no_hole_in_its_text() -> None:
    assert str(translation.of_system(OSError(errno.ENOSPC, ""))) == "no room; free some space and try again"


@pytest.mark.parametrize("number", [errno.EBADF, errno.ENOENT, errno.EISDIR], ids=errno.errorcode.get)
def test_what_no_user_can_mend_stays_what_it_is(number: int) -> None:
    given = OSError(number, "text")
    with pytest.raises(OSError) as caught, translation.translated():
        raise given
    assert caught.value is given


def test_other_errors_pass_the_translation_untouched() -> None:
    given = errors.Conflict(what="x")
    with pytest.raises(errors.Conflict) as caught, translation.translated():
        raise given
    assert caught.value is given


@translation.translating
class Public:
    """A class whose methods meet a full disk."""

    def method(self, *facts: str, end: str = ".") -> str:
        """Its text."""
        return self._refused(facts, end)

    @classmethod
    def made(cls) -> "Public":
        return cls._denied()

    @property
    def value(self) -> str:
        return self._refused(("value",), "")

    def _refused(self, facts: tuple[str, ...], end: str) -> str:
        if facts == ("fine",):
            return facts[0] + end
        raise OSError(errno.ENOSPC, "text")

    @classmethod
    def _denied(cls) -> "Public":
        raise PermissionError(errno.EACCES, "text", "/x")


def test_a_translating_class_raises_the_engines_errors_from_all_that_is_public() -> None:
    with pytest.raises(errors.NoSpace):
        Public().method()
    with pytest.raises(errors.NoSpace):
        Public().value
    with pytest.raises(errors.Denied, match="/x"):
        Public.made()
    with pytest.raises(OSError):
        Public()._refused((), "")


def test_a_translating_class_is_otherwise_as_it_was() -> None:
    assert Public().method("fine", end="!") == "fine!"
    assert Public.method.__doc__ == "Its text." and Public.__name__ == "Public"
