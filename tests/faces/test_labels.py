"""Labels files."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm.faces.boxes import KnownFace
from icm.faces.labels import Label, LabelError, read_labels

PICTURES = ["a.jpg", "b.jpg", "sub/c.jpg"]


@pytest.fixture
def read(tmp_path):
    """The function ``read(text)``: the labels of a file with that text (or bytes) for `PICTURES`."""

    def read(text, others=()):
        path = tmp_path / "people.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_labels(path, PICTURES, others)

    return read


@pytest.mark.parametrize("image", ["image", "file", " File "])
@pytest.mark.parametrize("person", ["identity", "person_id", "person", "name", "label", "Identity"])
def test_either_name_of_a_column_will_do(read, image, person):
    found = read(f"{image},{person},label_source\na.jpg,ann,pairs\nb.jpg,,none\n")
    assert found == {"a.jpg": Label("ann"), "b.jpg": Label(None)}


def test_identity_comes_before_columns_that_only_sound_like_it(read):
    assert read("image,name,identity\na.jpg,Ann Example,p01\n") == {"a.jpg": Label("p01")}


def test_boxes_tell_who_is_where(read):
    found = read("file,identity,x,y,width,height\na.jpg,ann,1,2,30,40\na.jpg,,50.4,2,30,40\nb.jpg,bob,,,,\n")
    assert found["a.jpg"] == Label(faces=(KnownFace("ann", 1, 2, 30, 40), KnownFace(None, 50, 2, 30, 40)))
    assert found["b.jpg"] == Label("bob")


def test_what_spreadsheets_write_is_read(read):
    text = '\ufefffile,identity\r\n"sub\\c.jpg","Example, Ann"\r\n\r\n./b.jpg, bob \r\n'
    assert read(text) == {"sub/c.jpg": Label("Example, Ann"), "b.jpg": Label("bob")}


def test_rows_of_files_that_are_not_read_are_passed_by(read):
    assert read("file,identity\na.jpg,ann\nd.mov,bob\n", others=["d.mov"]) == {"a.jpg": Label("ann")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the header '' has no column for a picture; call one image or file"),
        ("picture,identity\n", "line 1: the header 'picture,identity' has no column for a picture; call one image or"),
        ("image;identity\n", "line 1: the header 'image;identity' has no column for a picture"),
        ("image,who\n", "line 1: the header 'image,who' has no column for a person; call one identity or person_id"),
        ("image,file,identity\n", "line 1: image and file both name a picture; keep one"),
        ("file,identity,person_id\n", "line 1: identity and person_id both name a person; keep one"),
        ("file,identity,x,y\n", "line 1: the header has x, y but not width, height"),
        ("file,identity\n", "no row names a picture"),
        ("file,identity\na.jpg,ann\nz.jpg,bob\n", "line 3: there is no picture z.jpg"),
        ("file,identity\na.jpg,ann\na.jpg,ann\n", "line 3: a.jpg has a row already, line 2; keep one"),
        ("file,identity\na.jpg,ann\nb.jpg,bob\na.jpg,\n", "line 4: a.jpg has a row already, line 2; keep one"),
        ("file,identity\na.jpg,Example, Ann\n", "line 2: 3 fields under a header of 2; put quotes"),
        ('file,identity\n"a.jpg,ann\n', "is no CSV"),
        (b"file,identity\na.jpg,J\xf6rg\n", "is no UTF-8 text"),
        ("file,identity,x,y,width,height\na.jpg,ann,1,2,3,\n", "line 2: 1,2,3, is no box"),
        ("file,identity,x,y,width,height\na.jpg,ann,1,2,0,9\n", "line 2: 1,2,0,9 is no box"),
        ("file,identity,x,y,width,height\na.jpg,ann,1,2,inf,9\n", "line 2: 1,2,inf,9 is no box"),
        ("file,identity,x,y,width,height\na.jpg,ann,1,2,3,4\na.jpg,bob,1,2,3,4\n", "line 3: a.jpg has a row already"),
        (
            "file,identity,x,y,width,height\na.jpg,ann,1,2,3,4\na.jpg,bob,,,,\n",
            "line 3: a.jpg has a row already, line 2",
        ),
        (
            "file,identity,x,y,width,height\na.jpg,ann,,,,\na.jpg,bob,1,2,3,4\n",
            "line 3: a.jpg has a row already, line 2",
        ),
    ],
)
def test_a_mistake_is_one_line_with_file_line_and_remedy(read, tmp_path, text, message):
    with pytest.raises(LabelError, match=re.escape(message)) as caught:
        read(text)
    assert str(tmp_path / "people.csv") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(LabelError, match=f"faces.labels={path}: cannot be read"):
            read_labels(path, PICTURES)


@given(st.binary(max_size=200) | st.text("image,identity\n\"'abx1.jpg;", max_size=120))
def test_any_text_is_read_or_refused_in_one_line(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(text if isinstance(text, bytes) else f"image,identity\n{text}".encode())
    with contextlib.suppress(LabelError):
        assert set(read_labels(path, PICTURES)) <= set(PICTURES)
