"""Which file becomes which: the command line's plan, on real folders, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from cutout_client._cli_plan import UsageError, make_plan


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of each test, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def plan(*inputs: str, out: str | None = None, output: str | None = None) -> tuple[str, dict[str, str]]:
    made = make_plan(list(inputs), out, output)
    return made.output, {job.source_name: job.target_name for job in made.jobs}


@pytest.mark.parametrize(
    ("out", "output", "expected"),
    [
        (None, None, ("png", "shop/photo.cutout.png")),
        (None, "mask", ("mask", "shop/photo.cutout.png")),
        (None, "jpeg", ("jpeg", "shop/photo.cutout.jpg")),
        ("out.png", None, ("png", "out.png")),
        ("out.png", "mask", ("mask", "out.png")),
        ("out.WEBP", None, ("webp", "out.WEBP")),
        ("out.jpeg", None, ("jpeg", "out.jpeg")),
        ("out.jpg", "jpeg", ("jpeg", "out.jpg")),
        ("out", None, ("png", "out")),
        ("out", "webp", ("webp", "out")),
        ("out/", None, ("png", "out/photo.png")),
        ("-", "webp", ("webp", "-")),
    ],
)
def test_one_photo(out: str | None, output: str | None, expected: tuple[str, str]) -> None:
    touch("shop/photo.jpg")
    assert plan("shop/photo.jpg", out=out, output=output) == (expected[0], {"shop/photo.jpg": expected[1]})


def test_one_photo_into_a_folder_that_exists() -> None:
    touch("photo.jpg", "results/old.png")
    assert plan("photo.jpg", out="results")[1] == {"photo.jpg": "results/photo.png"}


def test_standard_input_and_output() -> None:
    assert plan("-") == ("png", {"-": "-"})
    assert plan("-", out="out.jpg") == ("jpeg", {"-": "out.jpg"})


def test_several_photos() -> None:
    touch("a.jpg", "b.webp")
    assert plan("a.jpg", "b.webp")[1] == {"a.jpg": "a.cutout.png", "b.webp": "b.cutout.png"}
    assert plan("a.jpg", "b.webp", out="new", output="jpeg")[1] == {"a.jpg": "new/a.jpg", "b.webp": "new/b.jpg"}


def test_a_folder_keeps_its_sub_folders_and_leaves_out_what_is_no_photo() -> None:
    touch("in/a.JPG", "in/sub/deep/b.heic", "in/notes.txt", "in/.hidden.jpg", "in/.git/c.jpg", "in/noextension")
    expected = {"in/a.JPG": "out/a.png", "in/sub/deep/b.heic": "out/sub/deep/b.png"}
    assert plan("in/", out="out/")[1] == expected
    assert plan("in", out="out")[1] == expected


def test_results_inside_the_folder_are_not_taken_as_photos() -> None:
    touch("in/a.jpg", "in/out/a.png", "in/other/b.jpg")
    assert plan("in", out="in/out")[1] == {"in/a.jpg": "in/out/a.png", "in/other/b.jpg": "in/out/other/b.png"}


def test_a_linked_folder_is_not_followed(folder: Path) -> None:
    touch("in/a.jpg")
    Path("in/loop").symlink_to(folder / "in")
    assert plan("in", out="out")[1] == {"in/a.jpg": "out/a.png"}


def test_a_photo_named_twice_is_done_once() -> None:
    touch("in/a.jpg")
    assert plan("in", "in/a.jpg", "./in/a.jpg", out="out")[1] == {"in/a.jpg": "out/a.png"}


def test_photos_of_one_name_are_told_apart() -> None:
    touch("in/a.jpg", "in/a.webp", "in/b.jpg", "in/sub/a.jpg")
    assert plan("in", out="out")[1] == {
        "in/a.jpg": "out/a.jpg.png",
        "in/a.webp": "out/a.webp.png",
        "in/b.jpg": "out/b.png",
        "in/sub/a.jpg": "out/sub/a.png",
    }
    assert plan("in/a.jpg", "in/a.webp")[1]["in/a.webp"] == "in/a.webp.cutout.png"


def test_a_photo_that_is_missing_is_left_to_the_run() -> None:
    assert plan("absent.jpg")[1] == {"absent.jpg": "absent.cutout.png"}


@pytest.mark.parametrize(
    ("inputs", "out", "output", "reason"),
    [
        (["a.jpg"], "out.jpg", "png", "contradicts --output png"),
        (["a.jpg"], "out.png", "webp", "contradicts --output webp"),
        (["a.jpg"], "out.tiff", None, "no output has the suffix .tiff"),
        (["a.jpg"], "a.jpg", None, "is itself an input"),
        (["a.jpg", "b.jpg"], "out.png", None, "names one file"),
        (["a.jpg", "b.jpg"], "b.jpg", None, "is a file"),
        (["a.jpg", "b.jpg"], "-", None, "only one image"),
        (["one"], "-", None, "only one image"),
        (["one"], None, None, "-o FOLDER"),
        (["one"], "one/", None, "would mix"),
        (["one/x.jpg", "two/x.jpg"], "out", None, "would both be written to out/x.jpg.png"),
        (["one", "two"], "out", None, "would both be written to out/x.jpg.png"),
        (["one/x.jpg", "one/y.png"], "one", "png", "is itself an input"),
        (["empty"], "out", None, "no image file in empty"),
        (["-", "a.jpg"], "out", None, "only input"),
        (["-"], "one", None, "-o FILE"),
    ],
)
def test_contradictions_are_refused(inputs: list[str], out: str | None, output: str | None, reason: str) -> None:
    touch("a.jpg", "b.jpg", "one/x.jpg", "one/y.png", "two/x.jpg", "empty/notes.txt")
    with pytest.raises(UsageError, match=reason):
        make_plan(inputs, out, output)


def test_a_name_that_stays_ambiguous_is_refused() -> None:
    touch("in/a.jpg", "in/a.webp", "in/a.jpg.gif")
    with pytest.raises(UsageError, match=r"out/a\.jpg\.png"):
        make_plan(["in"], "out", None)
