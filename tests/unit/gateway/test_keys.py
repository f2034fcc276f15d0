"""API keys at rest: the list's format, and the command that makes a key."""

from __future__ import annotations

import hashlib
import io
import stat
from pathlib import Path

import pytest

from cutout_gateway.keys import MAX_KEYS, ApiKey, hash_key, main, parse_keys

A, B = hashlib.sha256(b"key a").hexdigest(), hashlib.sha256(b"key b").hexdigest()


def test_a_list() -> None:
    text = f"# shop and CI\nshop {A} 500\n\n  ci\t{B.upper()} 2.5 admin  # runs at night\n"
    shop, ci = parse_keys(text)
    assert shop == ApiKey("shop", bytes.fromhex(A), 500.0, admin=False)
    assert ci == ApiKey("ci", bytes.fromhex(B), 2.5, admin=True)
    assert parse_keys(f"shop {A} 500; ci {B} 2.5 admin;") == (shop, ci)
    assert parse_keys("\n".join(key.line for key in (shop, ci))) == (shop, ci)
    assert parse_keys(f"x {A} admin") == (ApiKey("x", bytes.fromhex(A), None, admin=True),)
    assert parse_keys("# nobody\n") == ()


@pytest.mark.parametrize(
    "entry",
    [
        "secret-key-in-the-clear",
        "shop secret-key-in-the-clear",
        f"-shop {A}",
        f"{'n' * 65} {A}",
        f"shop {A} 0",
        f"shop {A} 0.5",
        f"shop {A} nan",
        f"shop {A} fast",
        f"shop {A} 5 6",
        f"shop {A} admin admin",
        f"shop {A[:-1]}",
    ],
)
def test_a_wrong_entry_is_named_by_its_line_and_never_quoted(entry: str) -> None:
    with pytest.raises(ValueError, match="line 2 of the API keys") as caught:
        parse_keys(f"# list\n{entry}\n")
    assert "secret" not in str(caught.value)
    assert A not in str(caught.value)


@pytest.mark.parametrize(("text", "what"), [(f"a {A}\na {B}", "name"), (f"a {A}\nb {A}", "key")])
def test_twice_the_same(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=f"same {what}"):
        parse_keys(text)


def test_too_many_keys() -> None:
    lines = [f"k{i} {hashlib.sha256(str(i).encode()).hexdigest()}" for i in range(MAX_KEYS + 1)]
    assert len(parse_keys("\n".join(lines[:-1]))) == MAX_KEYS
    with pytest.raises(ValueError, match="more than"):
        parse_keys("\n".join(lines))


def test_a_new_key_is_shown_once_and_its_line_fits(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for _ in range(2):
        assert main(["new", "shop", "--rate", "500", "--admin"]) == 0
        first, second = capsys.readouterr().out.splitlines()
        key, (entry,) = first.split(": ")[1], parse_keys(second.split(": ")[1])
        assert (entry.name, entry.megapixels_per_minute, entry.admin) == ("shop", 500, True)
        assert entry.digest == hash_key(key)
        assert len(key) >= 43
        shown.append(key)
    assert shown[0] != shown[1]


def test_a_key_goes_into_a_private_file_that_keeps_what_it_had(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys"
    assert main(["new", "a", "--file", str(file)]) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("# ours\n" + file.read_text().rstrip())
    file.chmod(0o640)
    assert main(["new", "b", "--file", str(file), "--rate", "60"]) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [key.name for key in parse_keys(file.read_text())] == ["a", "b"]
    assert file.read_text().startswith("# ours\n")
    assert list(tmp_path.iterdir()) == [file]
    before = file.read_text()
    capsys.readouterr()
    assert main(["new", "b", "--file", str(file)]) == 1
    assert "same name" in capsys.readouterr().err
    assert file.read_text() == before


def test_an_existing_key_is_taken_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("INSuVHfCz4vXAREdVjv8hsVx\n"))
    assert main(["new", "old", "--stdin"]) == 0
    out = capsys.readouterr().out
    assert "INSuVH" not in out
    assert hash_key("INSuVHfCz4vXAREdVjv8hsVx").hex() in out


@pytest.mark.parametrize("key", ["", "short", "two words of some length", "schlüssel-schlüssel-schlüssel"])
def test_a_weak_key_is_refused(key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{key}\n"))
    assert main(["new", "old", "--stdin"]) == 1
    assert "20 printable ASCII characters" in capsys.readouterr().err


def test_a_name_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "two words"]) == 1
    assert "is not: name" in capsys.readouterr().err


def test_a_folder_that_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "shop", "--file", str(tmp_path / "etc" / "keys")]) == 1
    assert f"there is no folder {tmp_path / 'etc'}: create it first" in capsys.readouterr().err
